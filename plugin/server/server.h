// SPDX-License-Identifier: GPL-2.0-only
/*
  The functions and variables of the server that the plugin uses, as weak symbols of the executable that loads it. The
  services of the same names are locked to a server series; the functions behind them are exported by every mariadbd and
  mariadb-backup from 10.11 on, so that one binary serves them all.
*/
#ifndef AKM_SERVER_H
#define AKM_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include <mysql/plugin.h>

#include "crypt/aes.h"

#undef my_printf_error
#undef thd_alloc
#undef thd_strmake
#undef thd_kill_level
#undef my_aes_crypt_init
#undef my_aes_crypt
#undef my_aes_get_size
#undef my_aes_crypt_update
#undef my_aes_crypt_finish
#undef my_aes_ctx_size

#define SERVER_SYMBOL __attribute__((weak, visibility("default")))

extern void my_printf_error(unsigned error, const char *format, unsigned long flags, ...) SERVER_SYMBOL;
extern void *thd_alloc(const MYSQL_THD thd, size_t size) SERVER_SYMBOL;
extern char *thd_strmake(const MYSQL_THD thd, const char *text, size_t size) SERVER_SYMBOL;
extern MYSQL_THD _current_thd(void) SERVER_SYMBOL;
extern long long thd_query_id(const MYSQL_THD thd) SERVER_SYMBOL;
extern enum thd_kill_levels thd_kill_level(const MYSQL_THD thd) SERVER_SYMBOL;
/* These two return a bool of C++ in some series. */
extern char thd_is_slave(const MYSQL_THD thd) SERVER_SYMBOL;
extern char wsrep_thd_is_applying(const MYSQL_THD thd) SERVER_SYMBOL;
extern unsigned slave_net_timeout SERVER_SYMBOL;
/* Global variables of mariadbd alone: it takes connections; it shuts down. Of one byte in some series, of four in others. */
extern volatile char mysqld_server_started SERVER_SYMBOL;
extern volatile char abort_loop SERVER_SYMBOL;
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "of a variable of four bytes the first is read");
/* The first argument or the second is an enum my_aes_mode, whose values depend on how the header is included. */
extern int my_aes_crypt_init(void *ctx, unsigned mode, int flags, const unsigned char *key, unsigned key_length,
                             const unsigned char *iv, unsigned iv_length) SERVER_SYMBOL;
extern int my_aes_crypt(unsigned mode, int flags, const unsigned char *from, unsigned length, unsigned char *to,
                        unsigned *written, const unsigned char *key, unsigned key_length, const unsigned char *iv,
                        unsigned iv_length) SERVER_SYMBOL;
extern unsigned my_aes_get_size(unsigned mode, unsigned length) SERVER_SYMBOL;
extern int my_aes_crypt_update(void *ctx, const unsigned char *from, unsigned length, unsigned char *to,
                               unsigned *written) SERVER_SYMBOL;
extern int my_aes_crypt_finish(void *ctx, unsigned char *to, unsigned *written) SERVER_SYMBOL;
extern unsigned my_aes_ctx_size(unsigned mode) SERVER_SYMBOL;
/*
  The function check_global_access(THD*, privilege_t, bool) of C++; privilege_t is an enum of 64 bits. Any of the privileges
  is enough.
*/
extern bool _Z19check_global_accessP3THD11privilege_tb(MYSQL_THD thd, unsigned long long any, bool quietly) SERVER_SYMBOL;
/* Global variables of mariadb-backup alone. */
extern char xtrabackup_backup SERVER_SYMBOL;
extern char *xtrabackup_incremental_dir SERVER_SYMBOL;
/* WSREP_ON_ is a bool of C++, set before a state transfer, which comes before the plugins. */
extern char WSREP_ON_ SERVER_SYMBOL;

/* The arguments that the server was started with, and the reader of its option files. */
extern int orig_argc SERVER_SYMBOL;
extern char **orig_argv SERVER_SYMBOL;
extern const char *load_default_groups[] SERVER_SYMBOL;
extern const char *my_defaults_file SERVER_SYMBOL;
extern const char *my_defaults_extra_file SERVER_SYMBOL;
extern const char *my_defaults_group_suffix SERVER_SYMBOL;
extern int my_load_defaults(const char *file, const char **groups, int *count, char ***arguments,
                            const char ***directories) SERVER_SYMBOL;
extern void free_defaults(char **arguments) SERVER_SYMBOL;

/* Returns whether we are inside mariadb-backup. */
bool server_is_backup(void);

/* Returns whether mariadb-backup makes a backup, and does not prepare one. */
bool server_makes_backup(void);

/* Returns the incremental backup that mariadb-backup applies to another; NULL: none. */
const char *server_incremental_dir(void);

/* Returns whether the server is a node of a Galera cluster. */
bool server_is_galera_node(void);

/* Returns the server's AES functions; a pointer is NULL where it does not export one. */
struct aes server_aes(void);

/*
  Reads the arguments that the server was started with: those of its option files, read once more, then those of its command
  line. Returns NULL, or why they cannot be known. Only for the thread that initialises the plugin. server_free_arguments()
  frees them.
*/
const char *server_arguments(int *count, char ***arguments);
void server_free_arguments(char **arguments);

enum server_severity
{
  SERVER_ERROR= 1,
  SERVER_WARNING= 2,
  SERVER_NOTE= 3
};

/* Writes one line, however long, into the server's error log, with the plugin's prefix. From any thread. */
void server_log(enum server_severity severity, const char *text);

__attribute__((format(printf, 2, 3)))
void server_logf(enum server_severity severity, const char *format, ...);

#define SERVER_SQL_ERROR_MAX 480u       /* bytes of a text that the client of SQL gets whole */

/* Fails the current statement with a text of the plugin, cut to SERVER_SQL_ERROR_MAX bytes. */
__attribute__((format(printf, 1, 2)))
void server_sql_error(const char *format, ...);

/* Adds a warning to the current statement, for SHOW WARNINGS. Does nothing where there is no session. */
__attribute__((format(printf, 1, 2)))
void server_sql_warning(const char *format, ...);

/* Returns the number of the statement, unique in the server; 0: none. */
long long server_statement_id(MYSQL_THD thd);

/* Returns the number of the calling thread's statement; 0: none. */
long long server_current_statement_id(void);

/* Returns whether the statement or the applier was killed, or a shutdown ends it. Other threads are never killed. */
bool server_is_killed(MYSQL_THD thd);

/*
  Returns whether the user of the current statement may read whole texts of failures, which name accounts, roles and paths
  of this installation: with PROCESS or SUPER, as for the server's own internals. False where the server cannot tell.
*/
bool server_may_read_failures(void);

/* Returns the session of the calling thread; NULL: the start of the server, or a thread of its own. */
MYSQL_THD server_session(void);

/*
  Returns whether the server takes connections; where it does not tell, whether a statement calls. mariadb-backup never
  does.
*/
bool server_has_started(void);

/* Returns whether the session applies changes of another server, by replication or in a Galera cluster. */
bool server_is_applier(MYSQL_THD thd);

/* Returns the seconds that a replica waits for its primary before it takes the connection for broken. */
unsigned server_slave_net_timeout(void);

/* Returns memory until the end of the current statement; NULL if there is none, or no statement. */
void *server_statement_alloc(MYSQL_THD thd, size_t size);

#endif
