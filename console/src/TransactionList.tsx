// Every transaction that the node knows: proposals that have not begun, then the newest first, as the node gives them.
import { useEffect } from "react";

import { transactions, type Transaction } from "./api";
import { usePolled } from "./hooks";
import { Badge, FailureNote, shortId } from "./parts";
import { date, span, timeOfDay } from "./time";
import { mood, tightest, whereItIs } from "./transaction";

const EVERY_MS = 1_500;

/** More are told by the command line. */
const MAX_ROWS = 500;

export function TransactionList() {
  const { value, failure, heard } = usePolled(transactions, EVERY_MS);
  useEffect(() => {
    document.title = "Transactions · SOFIE console";
  }, []);
  const shown = value?.slice(0, MAX_ROWS) ?? [];
  return (
    <>
      <h1>Transactions</h1>
      {failure && <FailureNote failure={failure} />}
      {failure && heard !== null && <p className="quiet">What you see is from {timeOfDay(new Date(heard).toISOString())}.</p>}
      {!value && !failure && <p className="quiet" role="status">Asking the node …</p>}
      {value?.length === 0 && (
        <div className="empty">
          <p>No transaction yet.</p>
          <p className="quiet">A transaction appears here with each contract, and by <code>sofie tx submit</code>.</p>
        </div>
      )}
      {shown.length > 0 && <Table shown={shown} />}
      {value && value.length > MAX_ROWS && (
        <p className="quiet">The first {MAX_ROWS} of {value.length}. <code>sofie tx ls</code> lists them all.</p>
      )}
    </>
  );
}

function Table({ shown }: { shown: readonly Transaction[] }) {
  return (
    <div className="card scroll" tabIndex={0} role="region" aria-label="Transactions">
      <table>
        <thead>
          <tr>
            <th scope="col">State</th><th scope="col">Transaction</th><th scope="col">Ledgers</th>
            <th scope="col">Decided by</th><th scope="col">Label</th><th scope="col">Least time left</th>
            <th scope="col">Begun</th>
          </tr>
        </thead>
        <tbody>{shown.map((one) => <Row key={one.id} one={one} />)}</tbody>
      </table>
    </div>
  );
}

function Row({ one }: { one: Transaction }) {
  const began = one.steps[0]?.at;
  const slack = tightest(one);
  return (
    <tr>
      <td><Badge kind={mood(one)}>{whereItIs(one)}</Badge></td>
      <td><a className="mono" href={`#/transactions/${one.id}`} title={one.id}>{shortId(one.id)}</a></td>
      <td>{[...new Set(one.legs.map((leg) => leg.ledger))].join(", ")}</td>
      <td className="nowrap">{one.decision_ledger}</td>
      <td>{one.label}</td>
      <td>{slack && <>{span(slack.left_ms)}{slack.alarm && <strong className="alarm"> Alarm: too little</strong>}</>}</td>
      <td className="nowrap">{began && <time dateTime={began}>{date(began)} {timeOfDay(began)}</time>}</td>
    </tr>
  );
}
