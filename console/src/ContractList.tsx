// Every contract that the node knows, the newest first.
import { useEffect } from "react";

import { contracts, type Contract } from "./api";
import { usePolled } from "./hooks";
import { Amount, FailureNote, shortId, StateBadge } from "./parts";
import { date, timeOfDay } from "./time";

const EVERY_MS = 1_500;

export function ContractList() {
  const { value, failure } = usePolled(contracts, EVERY_MS);
  useEffect(() => {
    document.title = "Contracts · SOFIE console";
  }, []);
  const began = (one: Contract): string => one.steps[0]?.at ?? "";
  const sorted = [...(value ?? [])].sort((a, b) => began(b).localeCompare(began(a)));
  return (
    <>
      <h1>Contracts</h1>
      {failure && <FailureNote failure={failure} />}
      {!value && !failure && <p className="quiet" role="status">Asking the node …</p>}
      {value?.length === 0 && (
        <div className="empty">
          <p>No contract yet.</p>
          <p className="quiet">A contract appears here as soon as someone offers to pay for an actuation, for example by <code>sofie try locker</code>.</p>
        </div>
      )}
      {sorted.length > 0 && (
        <div className="card scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">State</th><th scope="col">Contract</th><th scope="col">Action</th>
                <th scope="col">From</th><th scope="col">To</th><th scope="col" className="end">Price</th>
                <th scope="col">Label</th><th scope="col">Offered</th>
              </tr>
            </thead>
            <tbody>{sorted.map((one) => <Row key={one.id} one={one} began={began(one)} />)}</tbody>
          </table>
        </div>
      )}
    </>
  );
}

function Row({ one, began }: { one: Contract; began: string }) {
  return (
    <tr>
      <td><StateBadge state={one.state} /></td>
      <td><a className="mono" href={`#/contracts/${one.id}`} title={one.id}>{shortId(one.id)}</a></td>
      <td><b>{one.action}</b> <span className="quiet breakable">{one.thing}</span></td>
      <td className="nowrap">{one.renter}</td>
      <td className="nowrap">{one.owner}</td>
      <td className="end"><Amount value={one.price} /></td>
      <td>{one.label}</td>
      <td className="nowrap">{began && <time dateTime={began}>{date(began)} {timeOfDay(began)}</time>}</td>
    </tr>
  );
}
