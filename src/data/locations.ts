/** The places of the files that a server encrypts. Paths are absolute. */
export interface DataLocations {
  readonly datadir: string;
  /** innodb_data_home_dir and innodb_data_file_path */
  readonly systemTablespace: readonly string[];
  /** innodb_log_group_home_dir */
  readonly redoLogs: string;
  /** innodb_undo_directory */
  readonly undoLogs: string;
  /** Index files of binary and relay logs outside the data directory. */
  readonly logIndexes: readonly string[];
  /** binlog_directory of MariaDB 12.3, for binary logs that InnoDB writes. */
  readonly innodbBinaryLogs: string;
  /** innodb_temp_data_file_path, which the server makes anew at each start. */
  readonly temporaryTablespaces: readonly string[];
  /** tmpdir; the default, a directory of the system's, is not among them. */
  readonly temporaryTables: readonly string[];
}
