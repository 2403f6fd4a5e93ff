// The legs of a transaction: what each does, where it is, its ledger's word for it, and how much time it has left.
import type { Evidence, Leg, Transaction } from "./api";
import { DeadlineList, TICK_MS } from "./Deadlines";
import { useNow } from "./hooks";
import { Amount } from "./parts";
import { timeOfDay } from "./time";
import { evidenceWords, legDeed, legMeaning, legMood, legState, slackOf } from "./transaction";

interface Props {
  one: Transaction;
  /** When the node told it, by this browser's clock. */
  heard: number;
}

export function Legs({ one, heard }: Props) {
  const counts = one.legs.some((leg) => leg.slack);
  const now = useNow(TICK_MS, counts);
  const began = one.steps[0]?.at;
  return (
    <ol className="legs">
      {one.legs.map((leg) => <Item key={leg.leg} leg={leg} began={began} since={Math.max(0, now - heard)} />)}
    </ol>
  );
}

function Item({ leg, began, since }: { leg: Leg; began: string | undefined; since: number }) {
  const slack = slackOf(leg, since);
  return (
    <li className="leg" data-testid={`leg-${leg.leg}`} data-state={leg.state}>
      <h3>Leg {leg.leg} on {leg.ledger} <span className="quiet">{leg.class}</span></h3>
      <p><span className={`badge ${legMood(leg)}`}>{legState(leg)}</span> <span className="quiet">{legMeaning(leg)}</span></p>
      <p className="breakable"><Deed leg={leg} /></p>
      {leg.reason && <p className="note bad"><strong>Refused:</strong> {leg.reason}</p>}
      {leg.evidence.map((evidence) => <Fact key={evidence.position.reference} evidence={evidence} />)}
      {slack && <DeadlineList all={[slack]} began={began} now={Date.parse(slack.at) - slack.left} />}
    </li>
  );
}

function Deed({ leg }: { leg: Leg }) {
  if (!leg.payment) {
    return <>{legDeed(leg)}{leg.opening && <>: <code>{leg.opening.payload}</code></>}.</>;
  }
  const { from, to, amount } = leg.payment;
  return <><b>{from}</b> pays <b>{to}</b> <Amount value={amount} /> smallest units, {legDeed(leg)}.</>;
}

export function Fact({ evidence }: { evidence: Evidence }) {
  const at = new Date(evidence.at).toISOString();
  return (
    <p className="fact" data-testid="evidence">
      {evidenceWords(evidence)}, <time dateTime={at}>{timeOfDay(at)}</time> by the ledger’s clock
      <span className="mono breakable"><span className="quiet">reference </span>{evidence.position.reference}</span>
    </p>
  );
}
