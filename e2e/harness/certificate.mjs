// Certificates that nobody trusts but those who are told to.

import { spawnSync } from 'node:child_process';
import { X509Certificate, createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';

/** Makes a certificate for addresses and names, and its key, in a folder: the paths of both. */
export function selfSigned(folder, ...hosts) {
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(folder, name));
  const names = hosts.map((host) => `${isIP(host) ? 'IP' : 'DNS'}:${host}`).join(',');
  const made = spawnSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', cert, '-days', '2',
    '-subj', `/CN=${hosts[0]}`, '-addext', `subjectAltName=${names}`, '-addext', 'basicConstraints=critical,CA:FALSE',
  ], { encoding: 'utf8' });
  if (made.error || made.status) throw new Error(`openssl: ${made.error?.message ?? made.stderr}`);
  return { key, cert };
}

/** By what Chromium knows the key of a certificate, for `--ignore-certificate-errors-spki-list`. */
export function keyHash(cert) {
  const key = new X509Certificate(readFileSync(cert)).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(key).digest('base64');
}
