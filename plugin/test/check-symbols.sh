#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Checks the symbols of the library. It may need glibc, and the server functions of server.h as weak symbols. A plugin
# *service* would tie it to one server series.
set -u
library=$1
weak=' my_printf_error thd_alloc thd_strmake _current_thd thd_query_id thd_kill_level xtrabackup_backup xtrabackup_incremental_dir WSREP_ON_ my_aes_crypt_init my_aes_crypt my_aes_get_size my_aes_crypt_update my_aes_crypt_finish my_aes_ctx_size _Z19check_global_accessP3THD11privilege_tb orig_argc orig_argv load_default_groups my_defaults_file my_defaults_extra_file my_defaults_group_suffix my_load_defaults free_defaults thd_is_slave wsrep_thd_is_applying slave_net_timeout mysqld_server_started abort_loop '
bad=0
complain() { echo "check-symbols: $1" >&2; bad=1; }

services=$(nm -D "$library" | awk '{print $NF}' | grep '_service' || true)
[ -z "$services" ] || complain "service symbols: $services"

needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
for one in $needed; do
  case $one in
  libc.so.6 | ld-linux-*.so.*) ;;
  *) complain "needs $one, may only need libc" ;;
  esac
done
[ -n "$needed" ] || complain "no NEEDED entry found in $library"

undefined=$(nm -D --undefined-only "$library" | awk '{print $(NF-1) ":" $NF}')
[ -n "$undefined" ] || complain "no undefined symbols found in $library"
for one in $undefined; do
  kind=${one%%:*}
  name=${one#*:}
  case $name in
  *@GLIBC_*) continue ;;
  _ITM_deregisterTMCloneTable | _ITM_registerTMCloneTable | __gmon_start__ | __cxa_finalize) continue ;;
  esac
  case "$kind $weak" in
  w*" $name "*) ;;
  *) complain "undefined symbol $name ($kind) is neither libc's nor a weak one of server.h" ;;
  esac
done

readelf -d "$library" | grep -q NODELETE || complain "may be unloaded under a thread that hangs (needs -z nodelete)"

exported=$(nm -D --defined-only "$library" | awk '{print $NF}')
for one in $exported; do
  case $one in
  _maria_plugin_declarations_ | _maria_plugin_interface_version_ | _maria_sizeof_struct_st_plugin_) ;;
  *) complain "exports $one" ;;
  esac
done

[ "$bad" -eq 0 ] && echo "check-symbols: ok"
exit "$bad"
