// The clock, the address and the polling that the page's parts share.
import { useEffect, useState } from "react";

import { ApiFailure } from "./api";

/** Now, in milliseconds, again every `every` milliseconds while `running`. */
export function useNow(every: number, running: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every, running]);
  return now;
}

/** The part of the address after `#`, which is where this page keeps its place. */
export function useHash(): string {
  const [hash, setHash] = useState(() => window.location.hash);
  useEffect(() => {
    const changed = (): void => setHash(window.location.hash);
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return hash;
}

export interface Polled<T> {
  value: T | null;
  failure: ApiFailure | null;
}

/** Asks again every `every` milliseconds while the page is in sight; keeps the last answer when one fails. */
export function usePolled<T>(ask: (signal: AbortSignal) => Promise<T>, every: number): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>({ value: null, failure: null });
  useEffect(() => {
    const closing = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const round = async (): Promise<void> => {
      if (!document.hidden) {
        try {
          const value = await ask(closing.signal);
          setPolled({ value, failure: null });
        } catch (cause) {
          if (cause instanceof ApiFailure) setPolled((last) => ({ ...last, failure: cause }));
        }
      }
      if (!closing.signal.aborted) timer = setTimeout(() => void round(), every);
    };
    void round();
    return () => {
      closing.abort();
      clearTimeout(timer);
    };
  }, [ask, every]);
  return polled;
}
