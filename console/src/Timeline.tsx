// The timeline: time runs down, one lane for the parties, one a ledger, one for the things. The decision is the one line
// that crosses them all. To a screen reader it is an ordered list that names the lane of each step.
import type { LedgerStatus, Step } from "./api";
import { laneOf, lanes, stepTitle, type Lane } from "./lanes";
import { offset, timeOfDay } from "./time";

export function Timeline({ steps, ledgers }: { steps: readonly Step[]; ledgers: readonly LedgerStatus[] }) {
  const all = lanes(ledgers, steps);
  const began = Date.parse(steps[0]?.at ?? "");
  return (
    <div className="timeline" style={{ "--lanes": all.length } as React.CSSProperties} data-testid="timeline">
      <div className="heads">
        <span />
        {all.map((lane) => <Head key={lane.key} lane={lane} />)}
      </div>
      <ol className="steps" aria-label="Steps in order">
        {steps.map((step) => <Item key={step.seq} step={step} all={all} began={began} />)}
      </ol>
      {steps.length === 0 && <p className="quiet">Nothing has happened yet.</p>}
    </div>
  );
}

function Head({ lane }: { lane: Lane }) {
  return (
    <div className={`head ${lane.kind}`} data-testid="lane">
      <b>{lane.title}</b>
      {lane.ledger && (lane.ledger.ok
        ? <small>{lane.ledger.kind}{lane.ledger.height !== null && <> · height {lane.ledger.height}</>}</small>
        : <small className="bad" title={lane.ledger.error ?? ""}>not answering</small>)}
      {!lane.ledger && <small>{lane.kind === "parties" ? "agreement and receipt" : lane.kind === "things" ? "device and witness" : "ledger"}</small>}
    </div>
  );
}

function Item({ step, all, began }: { step: Step; all: readonly Lane[]; began: number }) {
  const key = laneOf(step);
  const column = all.findIndex((lane) => lane.key === key);
  const lane = all[column];
  const crossing = step.name === "decided" ? " crossing" : "";
  const after = Date.parse(step.at) - began;
  return (
    <li className={`step ${lane?.kind ?? ""}${step.ok ? "" : " failed"}${crossing}`}
      data-testid="step" data-name={step.name} data-lane={key} data-ok={step.ok}>
      <time dateTime={step.at} title={timeOfDay(step.at)}>{Number.isNaN(after) ? "" : `+${offset(after)}`}</time>
      {all.map((one, at) => (
        <span key={one.key} className={`rail ${one.key === key ? "here" : ""}`} style={{ gridColumn: at + 2 }} aria-hidden="true" />
      ))}
      <div className="what" style={{ gridColumn: column + 2 }}>
        <b>{stepTitle(step.name)}</b>
        {!step.ok && <span className="failure">failed</span>}
        <span className="where">{lane?.title}</span>
        <p>{step.detail}</p>
      </div>
    </li>
  );
}
