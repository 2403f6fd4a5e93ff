// One contract, live: its steps by server-sent events, its state fetched again after each.
import { useCallback, useEffect, useReducer, useState } from "react";

import { ApiFailure, contract as fetchContract, eventsUrl, isEnd, type Contract, type Step } from "./api";
import type { Connection } from "./Connection";
import { withStep } from "./lanes";

export interface Live {
  contract: Contract | null;
  connection: Connection;
  failure: ApiFailure | null;
  /** When the last news came, by this browser's clock. */
  heard: number | null;
  retry: () => void;
}

interface Seen {
  contract: Contract | null;
  steps: Step[];
}

type News = { step: Step } | { contract: Contract };

/** Steps come by two ways, the stream and the fetched contract; neither may take away what the other brought. */
function learn(seen: Seen, news: News): Seen {
  if ("step" in news) return { ...seen, steps: withStep(seen.steps, news.step) };
  const steps = news.contract.steps.reduce(withStep, seen.steps);
  return { contract: news.contract, steps };
}

/** How long to wait before another try, after the browser itself has given up. */
const RETRY_MS = 2_000;

export function useContract(id: string): Live {
  const [seen, tell] = useReducer(learn, { contract: null, steps: [] });
  const [connection, setConnection] = useState<Connection>("connecting");
  const [failure, setFailure] = useState<ApiFailure | null>(null);
  const [heard, setHeard] = useState<number | null>(null);
  const [attempt, setAttempt] = useState(0);
  const retry = useCallback(() => setAttempt((count) => count + 1), []);

  useEffect(() => {
    const closing = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const source = new EventSource(eventsUrl(id));

    const refresh = async (): Promise<void> => {
      try {
        const contract = await fetchContract(id, closing.signal);
        tell({ contract });
        setFailure(null);
        setHeard(Date.now());
      } catch (cause) {
        if (cause instanceof ApiFailure) setFailure(cause);
      }
    };
    source.addEventListener("open", () => {
      setConnection("live");
      void refresh();
    });
    source.addEventListener("step", (event) => {
      tell({ step: JSON.parse(event.data as string) as Step });
      void refresh();
    });
    source.addEventListener("end", (event) => {
      source.close();
      const told = JSON.parse(event.data as string) as Partial<Contract>;
      const over = told.state !== undefined && isEnd(told.state);
      setConnection(over ? "ended" : "lost");
      // A stream that ended before its contract did is taken up again.
      if (!over) timer = setTimeout(retry, RETRY_MS);
      void refresh();
    });
    source.addEventListener("error", () => {
      setConnection((current) => (current === "ended" ? current : "lost"));
      // The browser tries again by itself unless the answer was a refusal.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(retry, RETRY_MS);
      void refresh();
    });
    return () => {
      closing.abort();
      source.close();
      clearTimeout(timer);
    };
  }, [id, attempt, retry]);

  const contract = seen.contract && { ...seen.contract, steps: seen.steps };
  return { contract, connection, failure, heard, retry };
}
