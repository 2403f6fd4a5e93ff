// The console page: the list of contracts, or one contract's timeline, by the address after `#`.
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { status } from "./api";
import { ContractList } from "./ContractList";
import { ContractPage } from "./ContractPage";
import { useHash, usePolled } from "./hooks";
import "./style.css";

/** How often the node's own state is asked for. */
const STATUS_EVERY_MS = 3_000;

/** 64 hexadecimal digits: anything else is no contract's id. */
const CONTRACT = /^#\/contracts\/((?:0x)?[0-9a-f]{64})$/;

function App() {
  const node = usePolled(status, STATUS_EVERY_MS);
  const id = CONTRACT.exec(useHash())?.[1];
  const known = node.value?.status;
  return (
    <>
      <a className="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.getElementById("main")?.focus();
      }}>Skip to the content</a>
      <header className="bar">
        <a className="brand" href="#/">
          <img src="./icon.svg" alt="" width="22" height="22" /> SOFIE <span>console</span>
        </a>
        <p className="node" data-testid="node">
          {known ? <><b>{known.name}</b> <span>v{known.version}</span></> : "…"}
          {node.failure && <span className="bad"> · not answering</span>}
        </p>
      </header>
      <main id="main" tabIndex={-1}>
        {id
          ? <ContractPage key={id} id={id} ledgers={known?.ledgers ?? []} skew={node.value?.skew ?? 0} />
          : <ContractList />}
      </main>
    </>
  );
}

const root = document.getElementById("root");
if (root) createRoot(root).render(<StrictMode><App /></StrictMode>);
