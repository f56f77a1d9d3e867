/** Where a server keeps what it encrypts. Paths are absolute. */
export interface DataLocations {
  readonly datadir: string;
  /** innodb_data_home_dir and innodb_data_file_path */
  readonly systemTablespace: readonly string[];
  /** innodb_log_group_home_dir */
  readonly redoLogs: string;
  /** innodb_undo_directory */
  readonly undoLogs: string;
  /** Of binary and relay logs that are not in the data directory itself. */
  readonly logIndexes: readonly string[];
}
