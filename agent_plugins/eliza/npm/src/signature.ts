/**
 * Signatures of webhooks: Standard Webhooks 1.0, symmetric. Signed is `{webhook-id}.{webhook-timestamp}.{body}` with
 * HMAC-SHA256; a secret is `whsec_` and base64.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export const TOLERANCE_S = 300;

const PREFIX = 'whsec_';

/** The three headers. */
export interface SignedHeaders {
  id: string;
  timestamp: string;
  signature: string;
}

/**
 * Whether one of these bodies was signed with one of the secrets within `TOLERANCE_S` of `nowS` (Unix seconds). A
 * signature is compared with every one that would be right, in constant time. Secrets that are none fit nothing.
 */
export function genuine(
  secrets: readonly string[],
  headers: SignedHeaders,
  bodies: readonly (string | Uint8Array)[],
  nowS: number,
): boolean {
  const { id, timestamp, signature } = headers;
  if (id === '' || !/^[0-9]{1,15}$/.test(timestamp) || Math.abs(nowS - Number(timestamp)) > TOLERANCE_S) return false;
  const keys = secrets.map(keyOf).filter((key) => key !== null);
  const right = keys.flatMap((key) => bodies.map((body) => signed(key, `${id}.${timestamp}.`, body)));
  let found = false;
  for (const given of signature.split(' ').slice(0, 16)) {
    for (const one of right) found = same(given, one) || found;
  }
  return found;
}

function signed(key: Buffer, head: string, body: string | Uint8Array): string {
  return `v1,${createHmac('sha256', key).update(head).update(body).digest('base64')}`;
}

function same(given: string, right: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(right)];
  return one.length === other.length && timingSafeEqual(one, other);
}

/** The key's bytes: 24 to 64 of them; null for what is no secret. */
function keyOf(secret: string): Buffer | null {
  const text = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : '';
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  const key = Buffer.from(text, 'base64');
  return key.length >= 24 && key.length <= 64 ? key : null;
}
