// The console page: contracts or transactions, the list or one of them, by the address after `#`.
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { status } from "./api";
import { ContractList } from "./ContractList";
import { ContractPage } from "./ContractPage";
import { useHash, usePolled } from "./hooks";
import { TransactionList } from "./TransactionList";
import { TransactionPage } from "./TransactionPage";
import "./style.css";

/** How often the node's own state is asked for. */
const STATUS_EVERY_MS = 3_000;

/** 64 hexadecimal digits: anything else is nobody's id. */
const PLACE = /^#\/(contracts|transactions)(?:\/((?:0x)?[0-9a-f]{64}))?(?:\/|$)/;

/** Where an address leads; the contracts are the beginning. */
function place(hash: string): { section: Section; id: string | undefined } {
  const [, section, id] = PLACE.exec(hash) ?? [];
  return { section: section === "transactions" ? "transactions" : "contracts", id };
}

type Section = "contracts" | "transactions";

function App() {
  const node = usePolled(status, STATUS_EVERY_MS);
  const { section, id } = place(useHash());
  const known = node.value?.status;
  const facts = { ledgers: known?.ledgers ?? [], skew: node.value?.skew ?? 0 };
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
        <nav aria-label="Sections" className="sections">
          <Link to="#/" here={section === "contracts"} whole={!id}>Contracts</Link>
          <Link to="#/transactions" here={section === "transactions"} whole={!id}>Transactions</Link>
        </nav>
        <p className="node" data-testid="node">
          {known ? <><b>{known.name}</b> <span>v{known.version}</span></> : "…"}
          {node.failure && <span className="bad"> · not answering</span>}
        </p>
      </header>
      <main id="main" tabIndex={-1}>
        {section === "contracts" && (id ? <ContractPage key={id} id={id} {...facts} /> : <ContractList />)}
        {section === "transactions" && (id ? <TransactionPage key={id} id={id} {...facts} /> : <TransactionList />)}
      </main>
    </>
  );
}

/** `whole`: the address is that of the section itself, not of something in it. */
function Link({ to, here, whole, children }: { to: string; here: boolean; whole: boolean; children: string }) {
  return <a href={to} aria-current={here ? (whole ? "page" : "true") : undefined}>{children}</a>;
}

const root = document.getElementById("root");
if (root) createRoot(root).render(<StrictMode><App /></StrictMode>);
