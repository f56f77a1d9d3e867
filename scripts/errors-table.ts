/** docs/errors.md: the failure table of `src/kms/failures/classify.ts` as a document. */
import { FAILURE_TABLE } from '../src/kms/failures/classify.ts';
import type { FailureKind, FailureRow, RetryRule } from '../src/kms-failure.ts';

const WHO_ACTS: Readonly<Record<FailureKind, string>> = {
  operator: 'you',
  transient: 'nobody: it passes',
  corrupt: 'you: restore a file',
  other: 'report it',
};

const RETRIED: Readonly<Record<RetryRule, string>> = {
  no: 'no',
  briefly: 'for 10 s',
  'until-deadline': 'until the deadline',
};

const START: Readonly<Record<RetryRule, string>> = {
  no: 'fails at once',
  briefly: 'fails after 10 s',
  'until-deadline': 'waits, fails after `start_timeout`',
};

export function errorsDocument(): string {
  const rows = [...groups()].map(([row, names]) => {
    const cells = [
      names.map((name) => `\`${name}\``).join(', '),
      WHO_ACTS[row.kind],
      RETRIED[row.retry],
      START[row.retry],
      row.hint,
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return `# What can go wrong between here and KMS

Made from \`src/kms/failures/classify.ts\` by \`npm run docs\`; a test says when it is out of date. The names are those of KMS, STS and
Node.js as they stand in the error log; a failure of a credential source has a name of ours.

A running server never waits for any of it and never stops because of it: pages are read and written with the keys in
memory. Only the statement that needs a new key fails, and is tried anew the next time: \`ERROR 1005\` for a table, with the reason in
\`SHOW WARNINGS\`. Retries pause
exponentially with full jitter: at random up to 200 ms after the first attempt, up to 400 ms after the second, and up to 5 s at most;
longer where the answer's Retry-After asks for it (up to 30 s). They end at the deadline: \`start_timeout\` at start, 8 s for a new key
of a statement, 30 s for one of an applier and for a rotation.

| failure | who acts | retried | the start | what to do |
|---|---|---|---|---|
${rows.join('\n')}
| any other error of KMS with status 429 or 5xx | nobody: it passes | until the deadline | waits, fails after \`start_timeout\` | as above, by its status |
| any other error of KMS | report it | no | fails at once | look the error up in the AWS KMS API reference |
`;
}

/** Names that share a row, in the order of the table. */
function groups(): Map<FailureRow, string[]> {
  const found = new Map<FailureRow, string[]>();
  for (const [name, row] of Object.entries(FAILURE_TABLE)) found.set(row, [...(found.get(row) ?? []), name]);
  return found;
}
