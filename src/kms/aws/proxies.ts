import { KeyError } from '../../errors.ts';
import { parseUrl } from '../../url.ts';

/** Variables as Node.js reads them: the lower-case names take precedence. */
export interface ProxyVariables {
  readonly http_proxy?: string;
  readonly https_proxy?: string;
  readonly no_proxy?: string;
}

/**
 * The proxies that the environment configures, made explicit for Node.js, which silently ignores a variable without
 * `http://`, and does not read ALL_PROXY. As in curl, ALL_PROXY applies to schemes without a variable of their own.
 * @throws KeyError BAD_OPTION for an unusable proxy
 */
export function proxiesOf(environment: NodeJS.ProcessEnv): ProxyVariables {
  const first = (...names: readonly string[]): readonly [name: string, value: string] | undefined => {
    const name = names.find((each) => (environment[each] ?? '').trim() !== '');
    return name === undefined ? undefined : [name, (environment[name] ?? '').trim()];
  };
  const around = first('no_proxy', 'NO_PROXY')?.[1];
  if (around === '*') return { no_proxy: around };
  const all = ['all_proxy', 'ALL_PROXY'];
  const http = first('http_proxy', 'HTTP_PROXY', ...all);
  const https = first('https_proxy', 'HTTPS_PROXY', ...all);
  return {
    ...(http === undefined ? {} : { http_proxy: proxyUrl(...http) }),
    ...(https === undefined ? {} : { https_proxy: proxyUrl(...https) }),
    ...(around === undefined ? {} : { no_proxy: around }),
  };
}

/** The value is not repeated: it may hold a password. */
function proxyUrl(name: string, value: string): string {
  const [, scheme = ''] = /^([a-z][a-z0-9+.-]*):\/\//i.exec(value) ?? [];
  if (!['', 'http', 'https'].includes(scheme.toLowerCase())) {
    throw new KeyError('BAD_OPTION', `${name}: a ${scheme.toLowerCase()} proxy cannot be used`, {
      hint: `set ${name} to an HTTP proxy (http://HOST:PORT), or take it out of the environment of the server`,
    });
  }
  const url = parseUrl(scheme === '' ? `http://${value}` : value);
  if (url === null || url.hostname === '') {
    throw new KeyError('BAD_OPTION', `${name}: expected http://HOST:PORT`, {
      hint: `correct ${name} in the environment of the server`,
    });
  }
  return url.href;
}
