// The node's HTTP API as far as this page reads it (/openapi.json is the whole). Answers are checked for the fields that
// the page relies on; unknown fields are ignored, so that an older page reads a newer node.

export type State =
  | "proposed" | "preparing" | "committed" | "armed" | "actuated" | "disputable" | "settled" | "overruled"
  | "refunded" | "aborted" | "refused" | "declined" | "cancelled" | "expired";

export interface Step {
  seq: number;
  name: string;
  at: string;
  ledger: string | null;
  ok: boolean;
  detail: string;
}

export interface Deadlines {
  decision: string;
  evidence: string;
  refund: string;
}

export interface Contract {
  id: string;
  state: State;
  reason: string | null;
  thing: string;
  action: string;
  renter: string;
  owner: string;
  price: string;
  label: string;
  deadlines: Deadlines;
  next: string;
  steps: Step[];
}

export type Phase =
  | "proposed" | "declined" | "expired" | "preparing" | "collecting" | "deciding" | "applying" | "done" | "halted";

/** A ledger's word for a fact: the fact's name is the one key of `fact`; `at` is in milliseconds since 1970. */
export interface Evidence {
  ledger: string;
  fact: Record<string, unknown>;
  position: { height: number; index: number; reference: string };
  at: number;
}

/** How long a leg has until it is too late to send what is due. */
export interface Slack {
  due: "prepare" | "decide" | "claim" | "settle";
  until: string;
  left_ms: number;
  /** Less is left than the node may need to notice and act, as the node itself judges. */
  alarm: boolean;
}

export interface Leg {
  leg: number;
  ledger: string;
  class: "verifying" | "hashlock" | "escrow" | "record";
  kind: "transfer" | "escrow" | "hashlock" | "record";
  state: "proposed" | "declined" | "expired" | "intended" | "prepared" | "applied" | "reverted" | "refused";
  reason?: string;
  payment?: { from: string; to: string; amount: string };
  evidence: Evidence[];
  timelock?: string;
  slack?: Slack;
  opening?: { payload: string; salt: string };
}

export interface Watcher {
  name: string;
  has: string[];
  lacks: string | null;
}

export interface Proposal {
  by?: string;
  participants: string[];
  why: string;
  next: string;
}

export interface Transaction {
  id: string;
  phase: Phase;
  reason?: string;
  next: string;
  label: string;
  contract?: boolean;
  proposal?: Proposal;
  decision_ledger: string;
  decision: "commit" | "abort" | null;
  decided?: Evidence;
  deadline: string;
  grace_end: string;
  legs: Leg[];
  watchers?: Watcher[];
  steps: Step[];
}

export interface LedgerStatus {
  id: string;
  kind: string;
  height: number | null;
  single_operator: boolean;
  ok: boolean;
  error: string | null;
}

export interface Status {
  name: string;
  version: string;
  ledgers: LedgerStatus[];
}

/** A refusal as the node words it (RFC 9457), or the network's silence. */
export class ApiFailure extends Error {
  constructor(
    readonly title: string,
    detail: string,
    readonly next: string,
    readonly status: number,
  ) {
    super(detail);
  }
}

/** States from which a contract goes nowhere. */
export const ENDS: readonly State[] = [
  "settled", "overruled", "refunded", "aborted", "refused", "declined", "cancelled", "expired",
];

export const isEnd = (state: State): boolean => ENDS.includes(state);

/** Phases in which nothing more happens by itself; a halted one is looked at again, for an operator may resume it. */
const OVER: readonly Phase[] = ["done", "declined", "expired"];

export const isOver = (one: Transaction): boolean => OVER.includes(one.phase);

/** Longest wait for an answer. */
const PATIENCE_MS = 8_000;

async function get(path: string, signal?: AbortSignal): Promise<Response> {
  const limit = AbortSignal.timeout(PATIENCE_MS);
  let response: Response;
  try {
    response = await fetch(path, {
      headers: { accept: "application/json" },
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiFailure("The node does not answer", "No answer came from this address.", "Is `sofie up` still running?", 0);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response: Response): Promise<ApiFailure> {
  const problem = await response.json().catch(() => ({})) as { title?: string; detail?: string; next?: string };
  const title = problem.title ?? `The node answered ${response.status}`;
  return new ApiFailure(title, problem.detail ?? "It gave no reason.", problem.next ?? "", response.status);
}

export async function contracts(signal?: AbortSignal): Promise<Contract[]> {
  return (await get("/api/v1/contracts", signal)).json() as Promise<Contract[]>;
}

export async function contract(id: string, signal?: AbortSignal): Promise<Contract> {
  return (await get(`/api/v1/contracts/${encodeURIComponent(id)}`, signal)).json() as Promise<Contract>;
}

export async function transactions(signal?: AbortSignal): Promise<Transaction[]> {
  return (await get("/api/v1/transactions", signal)).json() as Promise<Transaction[]>;
}

export async function transaction(id: string, signal?: AbortSignal): Promise<Transaction> {
  return (await get(`/api/v1/transactions/${encodeURIComponent(id)}`, signal)).json() as Promise<Transaction>;
}

/** The status, and how far the node's clock is ahead of this browser's, in milliseconds. */
export async function status(signal?: AbortSignal): Promise<{ status: Status; skew: number }> {
  const response = await get("/api/v1/status", signal);
  const date = Date.parse(response.headers.get("date") ?? "");
  // The header counts whole seconds: only a larger difference says anything.
  const skew = Number.isNaN(date) ? 0 : date + 500 - Date.now();
  return { status: (await response.json()) as Status, skew: Math.abs(skew) > 1_500 ? skew : 0 };
}

export const eventsUrl = (id: string): string => `/api/v1/contracts/${encodeURIComponent(id)}/events`;

export const receiptUrl = (of: "contracts" | "transactions", id: string): string =>
  `/api/v1/${of}/${encodeURIComponent(id)}/receipt`;
