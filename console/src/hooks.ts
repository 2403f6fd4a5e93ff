// The clock, the address and the polling that the page's parts share.
import { useCallback, useEffect, useState } from "react";

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
  /** When the last answer came, by this browser's clock. */
  heard: number | null;
  /** Asks at once. */
  retry: () => void;
}

const never = (): boolean => false;

/**
 * Asks again every `every` milliseconds while the page is in sight; keeps the last answer when one fails. It stops when an
 * answer is the last one by `over`, and when there is nothing to ask for (404).
 */
export function usePolled<T>(
  ask: (signal: AbortSignal) => Promise<T>, every: number, over: (value: T) => boolean = never,
): Polled<T> {
  const [polled, setPolled] = useState<Omit<Polled<T>, "retry">>({ value: null, failure: null, heard: null });
  const [attempt, setAttempt] = useState(0);
  const retry = useCallback(() => setAttempt((count) => count + 1), []);
  useEffect(() => {
    const closing = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const round = async (): Promise<void> => {
      let last = false;
      if (!document.hidden) {
        try {
          const value = await ask(closing.signal);
          setPolled({ value, failure: null, heard: Date.now() });
          last = over(value);
        } catch (cause) {
          if (cause instanceof ApiFailure) {
            setPolled((known) => ({ ...known, failure: cause }));
            last = cause.status === 404;
          }
        }
      }
      if (!last && !closing.signal.aborted) timer = setTimeout(() => void round(), every);
    };
    void round();
    return () => {
      closing.abort();
      clearTimeout(timer);
    };
  }, [ask, every, over, attempt]);
  return { ...polled, retry };
}
