import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scratchDirectory } from './scratch.ts';

/** A private key and a certificate for it, in PEM. */
export interface Identity {
  readonly name: string;
  readonly key: string;
  readonly certificate: string;
  readonly certificateFile: string;
  /** The certificate chain that a server presents: the certificate, and those of its issuers that it was given. */
  readonly chain: string;
}

export interface Wanted {
  /** Default: the certificate is self-signed. */
  readonly issuer?: Identity;
  /** subjectAltName; undefined: the certificate is an authority's. */
  readonly hosts?: string;
  /** `YYYYMMDDhhmmssZ` */
  readonly from?: string;
  readonly until?: string;
  /** Certificates to present besides its own. */
  readonly shows?: readonly Identity[];
}

const CONFIG = `[ca]
default_ca = authority
[authority]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
[req]
distinguished_name = name
[name]
`;

/** Certificates of the running test, made by openssl. */
export class CertificateAuthority {
  readonly #directory = scratchDirectory();

  constructor() {
    for (const [file, text] of Object.entries({ config: CONFIG, serial: '01', index: '' })) {
      writeFileSync(join(this.#directory, file), text);
    }
  }

  issue({ issuer, hosts, from = '20200101000000Z', until = '20990101000000Z', shows = [] }: Wanted = {}): Identity {
    const name = `n-${randomUUID()}`;
    const authority = issuer?.name ?? name;
    const extension =
      hosts === undefined ? 'basicConstraints=critical,CA:TRUE' : `basicConstraints=CA:FALSE\nsubjectAltName=${hosts}`;
    writeFileSync(join(this.#directory, `${name}.extension`), extension);
    this.#openssl(`req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config config
      -subj /CN=${name} -keyout ${name}.key -out ${name}.request`);
    this.#openssl(`ca -batch -notext -config config -startdate ${from} -enddate ${until} -extfile ${name}.extension
      ${issuer === undefined ? '-selfsign' : `-cert ${authority}.pem`} -keyfile ${authority}.key
      -in ${name}.request -out ${name}.pem`);
    const certificateFile = join(this.#directory, `${name}.pem`);
    const certificate = readFileSync(certificateFile, 'utf8');
    return {
      name,
      key: readFileSync(join(this.#directory, `${name}.key`), 'utf8'),
      certificate,
      certificateFile,
      chain: [certificate, ...shows.map((shown) => shown.certificate)].join(''),
    };
  }

  #openssl(command: string): void {
    execFileSync('openssl', command.split(/\s+/), { cwd: this.#directory, stdio: 'pipe' });
  }
}
