// Signs tokens (JWT) as an application would, with nothing but Node.js.

import { createHmac, generateKeyPairSync, sign as signWith } from 'node:crypto';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const soon = (seconds) => Math.floor(Date.now() / 1000) + seconds;

function token(header, claims, signature) {
  const content = `${part({ typ: 'JWT', ...header })}.${part({ exp: soon(60), ...claims })}`;
  return `${content}.${signature(content).toString('base64url')}`;
}

/** A token that is signed with a secret, for a minute. */
export function signedBy(secret, claims = {}, { kid } = {}) {
  return token({ alg: 'HS256', kid }, claims, (content) => createHmac('sha256', secret).update(content).digest());
}

/** A key pair: the public key as PEM, and what signs with the private one. */
export function keyPair() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return {
    pem: publicKey.export({ type: 'spki', format: 'pem' }),
    sign: (claims = {}) => token({ alg: 'EdDSA' }, claims, (content) => signWith(null, Buffer.from(content), privateKey)),
  };
}

/** When something expired or will expire, in seconds from now. */
export { soon };
