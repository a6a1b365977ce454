/** A signal that ends something after a time, or with another signal. */

/** `signal` ends; `later` starts the time anew; `done` must be called when neither matters any more. */
export interface Ending {
  signal: AbortSignal;
  later: () => void;
  done: () => void;
}

/**
 * Ends after `ms` without a call of `later`, with a TimeoutError, or as soon as `outer` does. In place of
 * AbortSignal.any and AbortSignal.timeout: Node 20 may collect those as garbage while a request still waits for them.
 */
export function endingAfter(ms: number, outer?: AbortSignal): Ending {
  const controller = new AbortController();
  const expire = (): void => controller.abort(new DOMException('nothing came in time', 'TimeoutError'));
  const follow = (): void => controller.abort(outer?.reason);
  let timer = setTimeout(expire, ms);
  if (outer?.aborted) follow();
  outer?.addEventListener('abort', follow);
  return {
    signal: controller.signal,
    later: () => {
      clearTimeout(timer);
      timer = setTimeout(expire, ms);
    },
    done: () => {
      clearTimeout(timer);
      outer?.removeEventListener('abort', follow);
    },
  };
}
