// One transaction: what happens if nobody acts, what is wrong, its decision, its deadlines, its legs and their slack.
import { useCallback, useEffect } from "react";

import { isOver, transaction, type LedgerStatus, type Transaction, type Watcher } from "./api";
import { Announcer, ConnectionNote, LiveDot, type Connection } from "./Connection";
import { DeadlineList, TICK_MS } from "./Deadlines";
import { useNow, usePolled, type Polled } from "./hooks";
import { Fact, Legs } from "./Legs";
import { Badge, FailureNote, LabelWords, shortId, Unknown } from "./parts";
import { ReceiptFile } from "./Receipt";
import { Timeline } from "./Timeline";
import { alarms, mood, transactionDeadlines, whereItIs } from "./transaction";

/** The node judges whether the time is too little, so it is asked often. */
const EVERY_MS = 1_000;

interface Props {
  id: string;
  ledgers: readonly LedgerStatus[];
  skew: number;
}

export function TransactionPage({ id, ledgers, skew }: Props) {
  const ask = useCallback((signal: AbortSignal) => transaction(id, signal), [id]);
  const polled = usePolled(ask, EVERY_MS, isOver);
  const { value, failure, heard, retry } = polled;
  const connection = connected(polled);
  useEffect(() => {
    document.title = `${value ? whereItIs(value) : "Transaction"} · ${shortId(id)} · SOFIE console`;
  }, [value, id]);
  return (
    <>
      <div className="top">
        <nav aria-label="Where you are" className="crumbs">
          <a href="#/transactions">Transactions</a> <span aria-hidden="true">/</span> <span className="mono">{shortId(id)}</span>
        </nav>
        <ConnectionNote connection={connection} heard={heard} retry={retry} />
      </div>
      {failure && failure.status !== 0 && <FailureNote failure={failure} />}
      {value && heard !== null
        ? <Facts one={value} heard={heard} connection={connection} ledgers={ledgers} skew={skew} />
        : <Unknown what="Transaction" id={id} asking={!failure} />}
      <Announcer steps={value?.steps ?? []} />
    </>
  );
}

function connected({ value, failure }: Polled<Transaction>): Connection {
  if (failure) return failure.status === 0 || value ? "lost" : "connecting";
  if (!value) return "connecting";
  return isOver(value) ? "ended" : "live";
}

function Facts({ one, heard, connection, ledgers, skew }: {
  one: Transaction; heard: number; connection: Connection; ledgers: readonly LedgerStatus[]; skew: number;
}) {
  const concerned = new Set([one.decision_ledger, ...one.legs.map((leg) => leg.ledger)]);
  return (
    <>
      <div className="title">
        <h1>Transaction <span className="quiet mono">{shortId(one.id)}</span></h1>
        <Badge kind={mood(one)}>{whereItIs(one)}</Badge>
        <LiveDot connection={connection} />
      </div>
      <p className="next" data-testid="next">{one.next}</p>
      {one.reason && <p className="note" data-testid="reason"><strong>Reason:</strong> {one.reason}</p>}
      <Alarms lines={alarms(one)} />
      <div className="columns">
        <section className="card" aria-labelledby="decision">
          <h2 id="decision">Decision</h2>
          <Decision one={one} />
        </section>
        <section className="card" aria-labelledby="deadlines">
          <h2 id="deadlines">Deadlines</h2>
          <Deadlines one={one} skew={skew} />
        </section>
      </div>
      <section className="card" aria-labelledby="legs">
        <h2 id="legs">Legs</h2>
        <Legs one={one} heard={heard} />
      </section>
      {one.watchers && <Watchers all={one.watchers} />}
      <section className="card" aria-labelledby="timeline">
        <h2 id="timeline">Timeline</h2>
        <Timeline steps={one.steps} ledgers={ledgers.filter((ledger) => concerned.has(ledger.id))} />
      </section>
      <section className="card" aria-labelledby="receipt">
        <h2 id="receipt">Receipt</h2>
        {one.phase === "done"
          ? <ReceiptFile of="transactions" id={one.id} />
          : <p className="quiet">The receipt can be had when the transaction is done. It proves the whole story offline.</p>}
      </section>
    </>
  );
}

/** Words, and spoken at once: colour alone would not do. */
function Alarms({ lines }: { lines: readonly string[] }) {
  if (lines.length === 0) return null;
  return (
    <div className="note bad" role="alert" data-testid="alarm">
      <strong>Alarm</strong>
      <ul>{lines.map((line) => <li key={line}>{line}</li>)}</ul>
    </div>
  );
}

const VERDICTS = { commit: "COMMIT: it takes effect", abort: "ABORT: it takes effect nowhere" } as const;

function Decision({ one }: { one: Transaction }) {
  return (
    <dl className="pairs">
      <dt>Decides</dt><dd>{one.decision_ledger}</dd>
      <dt>Decision</dt><dd data-testid="decided"><b>{one.decision ? VERDICTS[one.decision] : "none yet"}</b></dd>
      {one.decided && <><dt>Record</dt><dd><Fact evidence={one.decided} /></dd></>}
      <dt>Label</dt><dd><LabelWords label={one.label} /></dd>
      <dt>Transaction</dt><dd className="mono breakable">{one.id}</dd>
      {one.contract && <><dt>Contract</dt><dd><a href={`#/contracts/${one.id}`}>the contract that it carries out</a></dd></>}
      {one.proposal && <>
        <dt>Proposed by</dt><dd>{one.proposal.by ? `peer ${one.proposal.by}` : "this node"}</dd>
        <dt>Between</dt><dd>{one.proposal.participants.join(", ")}</dd>
        <dt>Because</dt><dd className="breakable">{one.proposal.why}</dd>
        <dt>What to do</dt><dd>{one.proposal.next}</dd>
      </>}
    </dl>
  );
}

function Deadlines({ one, skew }: { one: Transaction; skew: number }) {
  const now = useNow(TICK_MS, !isOver(one)) + skew;
  return <DeadlineList all={transactionDeadlines(one, now)} began={one.steps[0]?.at} now={now} />;
}

function Watchers({ all }: { all: readonly Watcher[] }) {
  return (
    <section className="card" aria-labelledby="watchers">
      <h2 id="watchers">Watchers</h2>
      <dl className="pairs">
        {all.map(({ name, has, lacks }) => (
          <div key={name} className="pair">
            <dt>{name}</dt>
            <dd>has {has.length > 0 ? has.join(", ") : "nothing"}{lacks && <>; <strong>lacks more:</strong> {lacks}</>}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
