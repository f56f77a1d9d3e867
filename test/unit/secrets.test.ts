import { expect, it } from 'vitest';
import { Secrets } from '../../src/secrets.ts';
import { SecretSearch } from '../support/secret-search.ts';

const SECRET = 'aB3/dE6+gH9"jK2\\mN5=and >>>??? of it';

it('a secret is hidden in every form, wherever base64 begins', () => {
  const secrets = new Secrets();
  secrets.add(SECRET);
  const around = ['', 'x', 'xy'].map((before) => Buffer.from(`${before}${SECRET}yz`));
  const text = [
    SECRET,
    JSON.stringify(SECRET),
    encodeURIComponent(SECRET),
    ...around.flatMap((bytes) => (['hex', 'base64', 'base64url'] as const).map((form) => bytes.toString(form))),
    around[0]?.toString('hex').toUpperCase(),
  ].join(' | ');
  const search = new SecretSearch([['secret', SECRET]]);
  expect(search.in(text)).toHaveLength(7);
  expect(search.in(secrets.redact(text))).toEqual([]);
});

it('a proxy password that is not percent-encoded is hidden as it is', () => {
  const secrets = new Secrets();
  secrets.addEnvironment({ HTTPS_PROXY: 'http://user:100%zz-sure@proxy:1' });
  expect(secrets.redact('said: 100%zz-sure')).toBe('said: (hidden)');
});

it('a text without secrets stays as it is', () => {
  const secrets = new Secrets();
  secrets.add(undefined, '', 'short');
  const text = "AccessDeniedException: User: arn:aws:iam::1:user/a is not authorized: https://kms/ a short 'Signature'";
  expect(secrets.redact(text)).toBe(text);
});

it('the secrets of an environment are hidden', () => {
  const secrets = new Secrets();
  secrets.addEnvironment({
    AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'the secret key',
    AWS_SESSION_TOKEN: 'the session token',
    AWS_CONTAINER_AUTHORIZATION_TOKEN: 'the container token',
    AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1/the-full-path',
    AWS_WEB_IDENTITY_TOKEN_FILE: '/run/token',
    https_proxy: 'http://user:pass%40word@proxy:1',
  });
  const basic = Buffer.from('user:pass@word').toString('base64');
  const text = `AKIAEXAMPLE, the secret key, the session token, the container token, /the-full-path, /run/token, pass@word, Basic ${basic}`;
  expect(secrets.redact(text)).toBe(
    'AKIAEXAMPLE, (hidden), (hidden), (hidden), (hidden), /run/token, (hidden), Basic (hidden)',
  );
});

it.each([
  ['Invalid proxy URL: http://user:pa ss@host', 'Invalid proxy URL: http://user:pa ss@host'],
  ['Invalid proxy URL: http://user:p@ss/w@host:1/', 'Invalid proxy URL: http://(hidden)@host:1/'],
  [
    `Credential=AKIA/20261124/r/kms/aws4_request, Signature=${'0f'.repeat(32)} is wrong`,
    'Credential=AKIA/20261124/r/kms/aws4_request, Signature=(hidden) is wrong',
  ],
])('a value that is secret by its position is hidden: %s', (text, redacted) => {
  expect(new Secrets().redact(text)).toBe(redacted);
});

it.each([
  'the-secret',
  'the-secret is long and goes on for some time',
  '{"a": the-secret',
  '\nthe-secret, \n and more',
])('the piece of %j that JSON.parse quotes is hidden, also when only the first line is left', (text) => {
  let message = '';
  try {
    JSON.parse(text);
  } catch (error) {
    message = String(error);
  }
  expect(message).toContain('the-s');
  const secrets = new Secrets();
  expect(secrets.redact(`STS: ${message}`)).toBe('STS: SyntaxError: no valid JSON');
  expect(secrets.redact(message.split('\n', 1)[0] ?? '')).toBe('SyntaxError: no valid JSON');
});

it('the oldest of many secrets are forgotten', () => {
  const secrets = new Secrets();
  for (let i = 100; i <= 200; i += 1) secrets.add(`secret-${i}`);
  secrets.add('secret-102');
  secrets.add('secret-201');
  expect(secrets.redact('secret-100 secret-101 secret-102 secret-103 secret-104')).toBe(
    'secret-100 secret-101 (hidden) (hidden) (hidden)',
  );
});

it.each(['base64', 'base64url'] as const)(
  'a whole value of %s is hidden with its padding, wherever the secret begins',
  (form) => {
    for (let size = 6; size < 24; size += 1) {
      for (const before of ['', 'x', 'xy', 'user:']) {
        const secret = 'p>?~ssword-of-a-proxy-1234'.slice(0, size);
        const secrets = new Secrets();
        secrets.add(secret);
        const value = Buffer.from(`${before}${secret}`).toString(form);
        expect(secrets.redact(`Basic ${value}, "${value}"`)).toBe('Basic (hidden), "(hidden)"');
        expect(secrets.redact(`a=${encodeURIComponent(value)}&b=1`)).toBe('a=(hidden)&b=1');
      }
    }
  },
);

it('an endless text is cut, with no half of a secret at its end', () => {
  const secret = 'half of this secret with blanks is still too much';
  const secrets = new Secrets();
  secrets.add(secret);
  for (const at of [65_530, 65_500, 65_490]) {
    const redacted = secrets.redact(`${'x '.repeat(at / 2)}${secret}`);
    expect(redacted.length).toBeLessThanOrEqual(65_537);
    expect(redacted).toMatch(/…$/);
    expect(redacted).not.toContain('half');
  }
  expect(secrets.redact('a'.repeat(100_000))).toBe('…');
});

/** Texts that once made the search's time grow with the square of their length. */
const HOSTILE = [
  '://',
  '://a@',
  "Unexpected token '",
  "Unexpected token '', ",
  'Signature=',
  'Signature=0f',
  'a',
  'a ',
  '=',
];

it.each(HOSTILE)('the time for a text of %j grows in proportion to its length', (piece) => {
  const secrets = new Secrets();
  secrets.add(SECRET);
  // CPU time, which a busy machine does not stretch, of the fastest run, without garbage collection.
  const tookMs = (bytes: number): number => {
    const text = piece.repeat(bytes / piece.length);
    return Math.min(
      ...Array.from({ length: 7 }, () => {
        const before = process.threadCpuUsage();
        secrets.redact(text);
        const { user, system } = process.threadCpuUsage(before);
        return (user + system) / 1000;
      }),
    );
  };
  tookMs(4_000);
  // Sixteen times as long: 256 times as much time if it grew with the square. Below 5 ms the clock and not the text decides.
  expect(tookMs(64_000)).toBeLessThan(60 * Math.max(tookMs(4_000), 5));
});
