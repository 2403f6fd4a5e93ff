// One contract: what it is, what happens if nobody acts, its deadlines, its timeline and its receipt.
import { useEffect, useState } from "react";

import { isEnd, receiptUrl, type Contract, type LedgerStatus } from "./api";
import { DeadlineList } from "./Deadlines";
import { stepTitle } from "./lanes";
import { Amount, FailureNote, labelMeaning, shortId, StateBadge } from "./parts";
import { useContract, type Connection, type Live } from "./stream";
import { Timeline } from "./Timeline";
import { timeOfDay } from "./time";

interface Props {
  id: string;
  ledgers: readonly LedgerStatus[];
  skew: number;
}

export function ContractPage({ id, ledgers, skew }: Props) {
  const live = useContract(id);
  const { contract } = live;
  useEffect(() => {
    document.title = `${contract ? `${contract.state} · ${contract.action}` : "Contract"} · SOFIE console`;
  }, [contract]);
  return (
    <>
      <div className="top">
        <nav aria-label="Where you are" className="crumbs">
          <a href="#/">Contracts</a> <span aria-hidden="true">/</span> <span className="mono">{shortId(id)}</span>
        </nav>
        <ConnectionNote live={live} />
      </div>
      {live.failure && live.failure.status !== 0 && <FailureNote failure={live.failure} />}
      {contract ? <Facts contract={contract} connection={live.connection} ledgers={ledgers} skew={skew} /> : (
        !live.failure && <p className="quiet" role="status">Asking the node …</p>
      )}
      <Announcer contract={contract} />
    </>
  );
}

function Facts({ contract, connection, ledgers, skew }: {
  contract: Contract; connection: Connection; ledgers: readonly LedgerStatus[]; skew: number;
}) {
  return (
    <>
      <div className="title">
        <h1>{contract.action} <span className="quiet breakable">{contract.thing}</span></h1>
        <StateBadge state={contract.state} />
        <LiveDot connection={connection} />
      </div>
      <p className="next" data-testid="next">{contract.next}</p>
      {contract.reason && <p className="note" data-testid="reason"><strong>Reason:</strong> {contract.reason}</p>}
      <div className="columns">
        <section className="card" aria-labelledby="terms">
          <h2 id="terms">Terms</h2>
          <dl className="pairs">
            <dt>Pays</dt><dd>{contract.renter}</dd>
            <dt>Is paid</dt><dd>{contract.owner}</dd>
            <dt>Price</dt><dd><Amount value={contract.price} /> <span className="quiet">smallest units</span></dd>
            <dt>Label</dt>
            <dd><b data-testid="label">{contract.label}</b> <span className="quiet">{labelMeaning(contract.label)}</span></dd>
            <dt>Transaction</dt><dd className="mono breakable">{contract.id}</dd>
          </dl>
        </section>
        <section className="card" aria-labelledby="deadlines">
          <h2 id="deadlines">Deadlines</h2>
          <DeadlineList contract={contract} skew={skew} />
        </section>
      </div>
      <section className="card" aria-labelledby="timeline">
        <h2 id="timeline">Timeline</h2>
        <Timeline contract={contract} ledgers={ledgers} />
      </section>
      <section className="card" aria-labelledby="receipt">
        <h2 id="receipt">Receipt</h2>
        <Receipt contract={contract} />
      </section>
    </>
  );
}

const CONNECTION: Record<Connection, string> = {
  connecting: "Connecting", live: "Live", lost: "Connection lost", ended: "Complete",
};

function LiveDot({ connection }: { connection: Connection }) {
  return <span className={`link ${connection}`} data-testid="connection"><i aria-hidden="true" />{CONNECTION[connection]}</span>;
}

function ConnectionNote({ live }: { live: Live }) {
  const lost = live.connection === "lost";
  const since = live.heard ? ` What you see is from ${timeOfDay(new Date(live.heard).toISOString())}.` : "";
  return (
    <div role="status" aria-live="polite">
      {lost && (
        <div className="note bad" data-testid="lost">
          <span><strong>Connection lost.</strong>{since} The page tries again by itself; the node goes on without it.</span>
          <button type="button" onClick={live.retry}>Try now</button>
        </div>
      )}
    </div>
  );
}

/** Speaks the last step to a screen reader, and nothing else. */
function Announcer({ contract }: { contract: Contract | null }) {
  const last = contract?.steps.at(-1);
  return (
    <p className="hidden" aria-live="polite" data-testid="announcer">
      {last && `${stepTitle(last.name)}${last.ledger ? ` on ${last.ledger}` : ""}: ${last.detail}`}
    </p>
  );
}

function Receipt({ contract }: { contract: Contract }) {
  if (contract.state === "refused") {
    return <p className="quiet">A refused contract has no receipt: nothing was prepared.</p>;
  }
  if (!isEnd(contract.state)) {
    return <p className="quiet">The receipt can be had when the contract has ended. It proves the whole story offline.</p>;
  }
  // The node gives the file this name.
  const file = `receipt-${contract.id}.cbor`;
  return (
    <div className="receipt">
      <a className="button" href={receiptUrl(contract.id)} download={file} data-testid="receipt">Download the receipt</a>
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
