/** A server to replicate from, so that the relay logs of the audited one have events. */
import { setTimeout as pause } from 'node:timers/promises';
import { ScratchServer } from '../scratch-server.ts';
import { type Build, layoutOf } from './formats.ts';

export const NOTES = 'note of the primary';

export class Primary {
  readonly server: ScratchServer;
  readonly port: number;
  /** Notes that were replicated. */
  readonly written: number[] = [];

  private constructor(directory: string, build: Build, port: number) {
    this.port = port;
    this.server = new ScratchServer({
      directory,
      options: {
        ...layoutOf(build),
        server_id: 2,
        log_bin: 'primary',
        skip_networking: 0,
        bind_address: '127.0.0.1',
        port,
      },
    });
  }

  /** @param template an initialised data directory of the build */
  static async start(directory: string, build: Build, template: string, port: number): Promise<Primary> {
    const primary = new Primary(directory, build, port);
    primary.server.copyDatabase(template);
    await primary.server.start();
    await primary.server.sql("CREATE USER replicator@'%' IDENTIFIED BY 'x'");
    await primary.server.sql("GRANT REPLICATION SLAVE ON *.* TO replicator@'%'");
    await primary.server.sql('CREATE DATABASE r');
    await primary.server.sql('CREATE TABLE r.t (i INT PRIMARY KEY, s VARCHAR(100)) ENGINE=InnoDB');
    return primary;
  }

  /** Makes the server a replica, which receives and never applies. */
  async adopt(replica: ScratchServer): Promise<void> {
    await replica.sql(
      `CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=${this.port}, MASTER_USER='replicator', MASTER_PASSWORD='x', MASTER_SSL=0, MASTER_SSL_VERIFY_SERVER_CERT=0, MASTER_USE_GTID=no`,
    );
  }

  /** Sends one note to a new relay log of the replica. */
  async send(replica: ScratchServer): Promise<void> {
    const note = this.written.length + 1;
    await this.server.sql(`INSERT INTO r.t VALUES (${note}, '${NOTES} ${note}')`);
    const [{ File: log, Position: position } = {}] = await this.server.sql('SHOW MASTER STATUS');
    await replica.sql('FLUSH RELAY LOGS');
    await replica.sql('START SLAVE IO_THREAD');
    const endMs = performance.now() + 30_000;
    for (;;) {
      const [status = {}] = await replica.sql('SHOW SLAVE STATUS');
      if (status['Master_Log_File'] === log && status['Read_Master_Log_Pos'] === position) break;
      if (performance.now() > endMs) throw new Error(`the replica received nothing: ${status['Last_IO_Error']}`);
      await pause(20);
    }
    await replica.sql('STOP SLAVE IO_THREAD');
    this.written.push(note);
  }
}

/** The notes in the text of a log. */
export function notesIn(text: string): readonly number[] {
  return [...text.matchAll(new RegExp(`${NOTES} (\\d+)`, 'g'))].map(([, note]) => Number(note));
}
