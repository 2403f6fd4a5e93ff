// The receipt's file, and the line that verifies it.
import { useState } from "react";

import { receiptUrl } from "./api";

export function ReceiptFile({ of, id }: { of: "contracts" | "transactions"; id: string }) {
  // The node gives the file this name.
  const file = `receipt-${id}.cbor`;
  return (
    <div className="receipt">
      <a className="button" href={receiptUrl(of, id)} download={file} data-testid="receipt">Download the receipt</a>
      <p className="quiet">One file that proves the whole story offline, to someone who trusts neither this node nor the network:</p>
      <Command line={`sofie verify ${file}`} />
    </div>
  );
}

function Command({ line }: { line: string }) {
  const [copied, setCopied] = useState(false);
  const copy = (): void => {
    navigator.clipboard.writeText(line).then(() => setCopied(true), () => setCopied(false));
  };
  return (
    <div className="command">
      <code data-testid="verify">{line}</code>
      <button type="button" onClick={copy}>{copied ? "Copied" : "Copy"}</button>
    </div>
  );
}
