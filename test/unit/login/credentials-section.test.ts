import fc from 'fast-check';
import { expect, it } from 'vitest';
import { withoutSession, withSession } from '../../../src/login/credentials-section.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { SESSION } from '../../support/identity-sts.ts';

const session = { ...SESSION, expiresMs: Date.UTC(2030, 0, 1, 0, 15) };
const BLOCK = `# mariadb-aws-kms login wrote this and replaces or removes it; until 2030-01-01T00:15:00.000Z
[default]
aws_access_key_id = ${SESSION.accessKeyId}
aws_secret_access_key = ${SESSION.secretAccessKey}
aws_session_token = ${SESSION.sessionToken}
# end of what mariadb-aws-kms login wrote
`;

it('login writes a section, replaces its own, and removes no other text', () => {
  const others = '# mine\r\n[other]\naws_access_key_id=x\n\n  [ third ]\n';
  const written = withSession(others, 'default', session);
  expect(written).toBe(others + BLOCK);
  expect(withSession(`${written}\n[later]\n`, 'default', session)).toBe(`${others}\n[later]\n${BLOCK}`);
  expect(withoutSession(`${written}\n[later]\n`, 'default')).toBe(`${others}\n[later]\n`);
  expect(withoutSession(written, 'other')).toBe(written);
});

it('login --clear restores every text that login added to, byte for byte', () => {
  const text = fc
    .array(fc.constantFrom('[other]', '[p2]', '# x', 'a = b', '', ' ', '\r'))
    .map((lines) => lines.join('\n'));
  fc.assert(
    fc.property(text, (before) => {
      expect(withoutSession(withSession(before, 'default', session), 'default')).toBe(before);
    }),
  );
});

it.each(['[default]\naws_access_key_id = LONGTERM\n', '  [ default ]  # long-term\n'])(
  'login does not change %j',
  async (text) => {
    await expectKeyError(
      () => withSession(text, 'default', session),
      'BAD_OPTION',
      'the section [default] is there already, and login did not write it',
    );
    expect(withoutSession(text, 'default')).toBe(text);
  },
);

it('login --clear does not remove text that somebody changed', async () => {
  const changed = BLOCK.replace('# end', 'region = eu-west-1\n# end');
  await expectKeyError(
    () => withoutSession(changed, 'default'),
    'BAD_OPTION',
    'the section [default] was changed after login wrote it',
  );
});
