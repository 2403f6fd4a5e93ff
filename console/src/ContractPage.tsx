// One contract: what it is, what happens if nobody acts, its deadlines, its timeline and its receipt.
import { useEffect } from "react";

import { isEnd, type Contract, type LedgerStatus } from "./api";
import { Announcer, ConnectionNote, LiveDot, type Connection } from "./Connection";
import { ContractDeadlines } from "./Deadlines";
import { Amount, FailureNote, LabelWords, shortId, StateBadge, Unknown } from "./parts";
import { ReceiptFile } from "./Receipt";
import { useContract } from "./stream";
import { Timeline } from "./Timeline";

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
        <ConnectionNote {...live} />
      </div>
      {live.failure && live.failure.status !== 0 && <FailureNote failure={live.failure} />}
      {contract
        ? <Facts contract={contract} connection={live.connection} ledgers={ledgers} skew={skew} />
        : <Unknown what="Contract" id={id} asking={!live.failure} />}
      <Announcer steps={contract?.steps ?? []} />
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
            <dt>Label</dt><dd><LabelWords label={contract.label} /></dd>
            <dt>Transaction</dt>
            <dd className="mono breakable"><a href={`#/transactions/${contract.id}`}>{contract.id}</a></dd>
          </dl>
        </section>
        <section className="card" aria-labelledby="deadlines">
          <h2 id="deadlines">Deadlines</h2>
          <ContractDeadlines contract={contract} skew={skew} />
        </section>
      </div>
      <section className="card" aria-labelledby="timeline">
        <h2 id="timeline">Timeline</h2>
        <Timeline steps={contract.steps} ledgers={ledgers} />
      </section>
      <section className="card" aria-labelledby="receipt">
        <h2 id="receipt">Receipt</h2>
        <Receipt contract={contract} />
      </section>
    </>
  );
}

function Receipt({ contract }: { contract: Contract }) {
  if (contract.state === "refused") {
    return <p className="quiet">A refused contract has no receipt: nothing was prepared.</p>;
  }
  if (!isEnd(contract.state)) {
    return <p className="quiet">The receipt can be had when the contract has ended. It proves the whole story offline.</p>;
  }
  return <ReceiptFile of="contracts" id={contract.id} />;
}
