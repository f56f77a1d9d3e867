/*
  For LD_PRELOAD: makes certain what is rare otherwise. InnoDB ends its redo log with a byte 0 in a buffer, and writes the
  buffer while other threads may append to it: over the 0, and with none after what they append. From the moment that the
  file exists that LOG_END_RACE_ARMED names, each write of the log waits, as if its thread had been preempted. Once a block
  was written where so many whole mini-transactions as LOG_END_RACE_STALE says follow the end, which an older block left
  there, the server is killed. LOG_END_RACE_NONCE: 8 in an encrypted log, 0 otherwise.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG "/ib_logfile0"
#define FIRST_BLOCK 12288
#define ALIGNMENT 4096                  /* the file may be open with O_DIRECT */
#define DELAY_US 1500

static size_t number(const char *variable)
{
  const char *value= getenv(variable);
  return value ? (size_t) atoi(value) : 0;
}

static int is_log(int fd)
{
  char link[32], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length= readlink(link, path, sizeof path), suffix= sizeof LOG - 1;
  return length > suffix && !memcmp(path + length - suffix, LOG, (size_t) suffix);
}

static unsigned crc32c(unsigned crc, const unsigned char *bytes, size_t size)
{
  crc= ~crc;
  for (size_t i= 0; i < size; i++)
  {
    crc^= bytes[i];
    for (int bit= 0; bit < 8; bit++)
      crc= crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

/* Of what follows the first byte of a record; long ones are none of a block's. */
static size_t long_length(const unsigned char *at)
{
  return 15 + (*at < 0x80 ? *at : 0x80 + ((at[0] & 0x3fu) << 8 | at[1]));
}

/* Where the mini-transaction ends that starts there, 0: it is none, or not whole. */
static size_t end_of(const unsigned char *log, size_t size, size_t start, size_t nonce)
{
  size_t at= start;
  while (at + 2 < size && log[at] > 1)
    at+= 1 + (log[at] & 15 ? log[at] & 15u : long_length(log + at + 1));
  size_t checksum= at + 1 + nonce;
  if (at == start || checksum + 4 > size || log[at] > 1)
    return 0;
  unsigned crc= crc32c(crc32c(0, log + start, at - start), log + at + 1, nonce);
  const unsigned char *stored= log + checksum;
  return crc == ((unsigned) stored[0] << 24 | stored[1] << 16 | stored[2] << 8 | stored[3]) ? checksum + 4 : 0;
}

/* How many whole mini-transactions follow those that took the place of the 0. */
static size_t stale(const unsigned char *before, const unsigned char *after, size_t size, size_t nonce)
{
  size_t at= 0, last= size, count= 0;
  while (at < size && before[at] == after[at])
    at++;
  if (at == size || before[at])
    return 0;
  while (before[last - 1] == after[last - 1])
    last--;
  while ((at= end_of(after, size, at, nonce)))
    count+= at >= last;
  return count ? count - 1 : 0;
}

__attribute__((visibility("default"))) ssize_t pwrite64(int fd, const void *buffer, size_t size, off64_t offset)
{
  ssize_t (*real)(int, const void *, size_t, off64_t);
  *(void **) &real= dlsym(RTLD_NEXT, "pwrite64");
  const char *armed= getenv("LOG_END_RACE_ARMED");
  unsigned char *before, *after;
  if (!armed || offset < FIRST_BLOCK || access(armed, F_OK) || !is_log(fd) || !(before= malloc(size)))
    return real(fd, buffer, size, offset);
  memcpy(before, buffer, size);
  usleep(DELAY_US);
  if (posix_memalign((void **) &after, ALIGNMENT, size))
    abort();
  memcpy(after, buffer, size);
  ssize_t written= real(fd, after, size, offset);
  if (stale(before, after, size, number("LOG_END_RACE_NONCE")) >= number("LOG_END_RACE_STALE"))
  {
    kill(getpid(), SIGKILL);
    pause();
  }
  free(before);
  free(after);
  return written;
}
