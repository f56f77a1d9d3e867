// SPDX-License-Identifier: GPL-2.0-only
#include "keys/keyarena.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The bytes of a chunk are few, so that a server with a handful of keys stays far below an RLIMIT_MEMLOCK of 64 KiB. */
#define CHUNK 16384u
#define ALIGN 16u

struct keyarena_chunk
{
  struct keyarena_chunk *next;
  uint8_t *base;
  size_t size;
  size_t used;
};

static struct keyarena_chunk *new_chunk(struct keyarena *arena)
{
  struct keyarena_chunk *chunk= malloc(sizeof *chunk);
  if (!chunk)
    return NULL;
  long page= sysconf(_SC_PAGESIZE);
  size_t size= page > (long) CHUNK ? (size_t) page : CHUNK;
  void *base= mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
  {
    free(chunk);
    return NULL;
  }
  if (mlock(base, size) && !arena->lock_error)
    arena->lock_error= errno;
  /* MADV_WIPEONFORK is unknown to kernels before 4.14; the keys are no less usable there. */
  (void) madvise(base, size, MADV_DONTDUMP);
  (void) madvise(base, size, MADV_WIPEONFORK);
  *chunk= (struct keyarena_chunk) {.next= arena->chunks, .base= base, .size= size, .used= 0};
  arena->chunks= chunk;
  return chunk;
}

void *keyarena_alloc(struct keyarena *arena, size_t size)
{
  if (size == 0 || size > 4096)
    return NULL;
  size= (size + ALIGN - 1) / ALIGN * ALIGN;
  struct keyarena_chunk *chunk= arena->chunks;
  if ((!chunk || chunk->size - chunk->used < size) && !(chunk= new_chunk(arena)))
    return NULL;
  void *at= chunk->base + chunk->used;
  chunk->used+= size;
  return at;
}

void keyarena_destroy(struct keyarena *arena)
{
  for (struct keyarena_chunk *chunk= arena->chunks, *next; chunk; chunk= next)
  {
    next= chunk->next;
    explicit_bzero(chunk->base, chunk->size);
    munmap(chunk->base, chunk->size);
    free(chunk);
  }
  *arena= (struct keyarena) {0};
}
