import { createServer } from 'node:http';
import { FAILURE_TABLE } from '../../../../../src/kms/failures/classify.ts';
import { CREDENTIAL_FAILURES } from '../../../../../src/kms/failures/credential-rows.ts';
import { failureOf } from '../../../../support/failing-call.ts';
import { listening } from '../../../../support/fronts.ts';
import { accept, type FailureCases, failWith } from './case.ts';

/** Rows that share an error name of KMS: its name and text. */
const BY_TEXT: Readonly<Record<string, readonly [name: string, text: string]>> = {
  MasterKeyUnavailable: [
    'KMSInvalidStateException',
    'KMS rejected the request because the external key store proxy did not respond in time. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator.',
  ],
  RegionNotServed: [
    'InvalidSignatureException',
    "Credential should be scoped to a valid region, not 'eu-central-1a'. ",
  ],
};

/** Rows with names of KMS's own errors; the others come from Node, the SDK, or a credential source. */
const NAMES = Object.keys(FAILURE_TABLE).filter(
  (name) =>
    !Object.hasOwn(CREDENTIAL_FAILURES, name) &&
    !Object.hasOwn(BY_TEXT, name) &&
    !/^[A-Z0-9_]+$/.test(name) &&
    !['TimeoutError', 'UnreadableAnswer', 'CredentialsProviderError'].includes(name),
);

export const ANSWERS: FailureCases = {
  ...Object.fromEntries(
    NAMES.map((name) => [
      name,
      async (scene) => {
        accept(scene);
        scene.kms.faults.set([{ kind: 'error', name, status: 400, message: 'what KMS said' }]);
        const failure = await failureOf({ endpointUrl: scene.kms.url });
        return { failure, said: 'what KMS said', requestId: '[0-9a-f-]{36}' };
      },
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(BY_TEXT).map(([row, [name, message]]) => [
      row,
      async (scene) => {
        accept(scene);
        scene.kms.faults.set([{ kind: 'error', name, status: 400, message }]);
        const failure = await failureOf({ endpointUrl: scene.kms.url });
        return { failure, said: `${name}: ${message.replaceAll(/[.?()]/g, '\\$&')}`, requestId: '[0-9a-f-]{36}' };
      },
    ]),
  ),
  UnreadableAnswer: async (scene) => {
    const server = createServer((_, answer) => answer.writeHead(503, { 'content-type': 'text/html' }).end('<html>'));
    const endpointUrl = `http://127.0.0.1:${await listening(server)}`;
    return await failWith(scene, 'HTTP 503, text/html, no JSON', { endpointUrl });
  },
};
