/** Problem documents (RFC 9457), as the engine answers them, and what this plugin finds wrong by itself. */

/** `retry_after` in seconds. `field` names what is wrong, `next_action` says what to do about it. */
export interface Problem {
  code: string;
  detail: string;
  status: number;
  field: string;
  retryable: boolean;
  retry_after: number | null;
  next_action: string;
  [more: string]: unknown;
}

/** What the client throws, and nothing else. */
export class ProblemError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
    this.name = 'ProblemError';
  }
}

/** A problem of this plugin's own; `status` 0 says that no server gave it. */
export function problem(code: string, detail: string, more: Partial<Problem> = {}): Problem {
  return { code, detail, status: 0, field: '', retryable: false, retry_after: null, next_action: '', ...more };
}

/** The problem behind anything that was thrown. */
export function problemOf(thrown: unknown): Problem {
  if (thrown instanceof ProblemError) return thrown.problem;
  return problem('plugin_error', `unforeseen: ${messageOf(thrown)}`);
}

/** An input that is wrong by itself: the field, and a valid example. */
export function invalid(detail: string, field: string, example: unknown): Problem {
  return problem('invalid_input', detail, {
    field,
    next_action: `A valid example: ${JSON.stringify(example)}`,
  });
}

/** The engine's answer to a request that it refused, with every member there and of its type. */
export function problemFrom(body: unknown, status: number, retryAfter: string | null): Problem {
  const given = isObject(body) ? body : {};
  const seconds = typeof given.retry_after === 'number' ? given.retry_after : Number(retryAfter ?? Number.NaN);
  return {
    ...given,
    code: textOr(given.code, `http_${status}`),
    detail: textOr(given.detail, `the engine answered ${status}`),
    status,
    field: textOr(given.field, ''),
    retryable: typeof given.retryable === 'boolean' ? given.retryable : status === 429 || status >= 500,
    retry_after: Number.isFinite(seconds) && seconds >= 0 ? seconds : null,
    next_action: textOr(given.next_action, ''),
  };
}

/** Whether it is an object with members, and no list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What an exception says, with its cause: `fetch` hides the reason of a failure there. */
export function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown).slice(0, 300);
  const cause = thrown.cause instanceof Error ? `: ${thrown.cause.message}` : '';
  return `${thrown.message}${cause}`.slice(0, 300);
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' && value !== '' ? value : otherwise;
}
