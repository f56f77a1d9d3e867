import { KeyError } from '../../errors.ts';

/** As Node.js reads them: these go before the names in capitals. */
export interface ProxyVariables {
  readonly http_proxy?: string;
  readonly https_proxy?: string;
  readonly no_proxy?: string;
}

/**
 * The proxies that the environment orders, as Node.js understands them: it goes round a proxy without a word when the variable
 * has no `http://` before it, and does not read ALL_PROXY. As for curl, ALL_PROXY is for what has no variable of its own.
 * @throws KeyError BAD_OPTION for a proxy that cannot be used
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
  const url = URL.parse(scheme === '' ? `http://${value}` : value);
  if (url === null || url.hostname === '') {
    throw new KeyError('BAD_OPTION', `${name}: expected http://HOST:PORT`, {
      hint: `correct ${name} in the environment of the server`,
    });
  }
  return url.href;
}
