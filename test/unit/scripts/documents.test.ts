import { expect, it } from 'vitest';
import { withShippedLinks } from '../../../scripts/package/documents.ts';

const SHIPPED = new Map([
  ['docs/aws.md', 'docs/aws.md'],
  ['LICENSE', 'LICENSE.txt'],
  ['packaging/a.cnf', '../../tool/a.cnf'],
]);

it.each([
  ['[the way](aws.md#policy)', '[the way](aws.md#policy)'],
  ['[LICENSE](../LICENSE)', '[LICENSE](../LICENSE.txt)'],
  ['[packaging/a.cnf](../packaging/a.cnf)', '[packaging/a.cnf](../../../tool/a.cnf)'],
  ['[a site](https://example.org/x)', '[a site](https://example.org/x)'],
  ['[here](#below)', '[here](#below)'],
  ['[../findings](../findings)', 'findings'],
  ['[request.c](../plugin/client/request.c)', 'plugin/client/request.c'],
  ['[its folders](../CONTRIBUTING.md#folders)', 'its folders (`CONTRIBUTING.md`)'],
  ['[`settings.ts`](../src/settings.ts), [aws.md](aws.md)', '`src/settings.ts`, [aws.md](aws.md)'],
])('%s is shipped as %s', (text, expected) => {
  expect(withShippedLinks(text, 'docs/operation.md', SHIPPED)).toBe(expected);
});
