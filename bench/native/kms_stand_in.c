/*
  A KMS that takes next to nothing of the processor: it answers Decrypt from a table, after a latency, over plain HTTP/1.1 or TLS.
  It verifies no signature, and answers any other request with HTTP 400.

  Arguments: CERTIFICATE KEY for TLS, or none. Commands on standard input, each answered by one line:
    load FILE     lines "CiphertextBlob Plaintext KeyId", in base64, to answer from
    latency US    microseconds before each answer
    take          prints the answers since the last take, the most that were under way at once, the connections, those of them that
                  resumed a TLS session, and the microseconds of CPU time
*/
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <search.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST 16384

struct connection
{
  int fd;
  SSL *tls;
  bool is_open;
  size_t have;
  const char *answer;
  uint64_t due_ns;
  struct connection *next; /* in the queue of answers */
  char request[MOST];
};

static struct { long answers, at_once, most, connections, resumed; } counts;
static uint64_t latency_ns;
static struct connection *first, **last= &first;
/* A tree of `struct known`: hsearch(3) looks at the first bytes, which all wrapped keys share. */
static void *table;
static SSL_CTX *context;
static int timer, poll_fd;

struct known
{
  const char *blob, *text;
};

static int by_blob(const void *a, const void *b)
{
  return strcmp(((const struct known *) a)->blob, ((const struct known *) b)->blob);
}

static uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void die(const char *what)
{
  perror(what);
  exit(1);
}

static void drop(struct connection *c)
{
  /* A connection that waits for its answer stays in the queue until then. */
  if (c->answer)
  {
    close(c->fd);
    c->fd= -1;
    return;
  }
  if (c->tls)
    SSL_free(c->tls);
  if (c->fd >= 0)
    close(c->fd);
  free(c);
}

static void answer(struct connection *c)
{
  const char *text= c->answer;
  c->answer= NULL;
  counts.at_once--;
  counts.answers++;
  int length= (int) strlen(text);
  if (c->fd < 0)
    drop(c);
  /* The next read notices that the other side has gone. */
  else if ((c->tls ? SSL_write(c->tls, text, length) : write(c->fd, text, (size_t) length)) != length)
    shutdown(c->fd, SHUT_RDWR);
}

static void arm(void)
{
  struct itimerspec when= {0};
  uint64_t now= now_ns(), ns= first->due_ns > now ? first->due_ns - now : 1;
  when.it_value.tv_sec= (time_t) (ns / 1000000000);
  when.it_value.tv_nsec= (long) (ns % 1000000000);
  timerfd_settime(timer, 0, &when, NULL);
}

static void take_due(void)
{
  uint64_t ignored;
  if (read(timer, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
    die("timer");
  for (uint64_t now= now_ns(); first && first->due_ns <= now;)
  {
    struct connection *c= first;
    if (!(first= c->next))
      last= &first;
    answer(c);
  }
  if (first)
    arm();
}

/* Finds the whole request's answer; NULL: a part is missing. */
static const char *answer_of(struct connection *c)
{
  static const char refusal[]= "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
  static const char member[]= "\"CiphertextBlob\":\"";
  c->request[c->have]= 0;
  char *end= strstr(c->request, "\r\n\r\n"), *length= strcasestr(c->request, "\r\ncontent-length:");
  if (!end || !length || length > end)
    return end ? refusal : NULL;
  if (c->have < (size_t) (end + 4 - c->request) + strtoul(length + 17, NULL, 10))
    return NULL;
  char *blob= strstr(end, member), *quote= blob ? strchr(blob + sizeof member, '"') : NULL;
  c->have= 0;
  if (!quote)
    return refusal;
  *quote= 0;
  struct known **found= tfind(&(struct known) {.blob= blob + sizeof member - 1}, &table, by_blob);
  return found ? (*found)->text : refusal;
}

static void serve(struct connection *c)
{
  if (c->tls && !c->is_open)
  {
    int done= SSL_accept(c->tls);
    if (done != 1)
    {
      int why= SSL_get_error(c->tls, done);
      if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        drop(c);
      return;
    }
    c->is_open= true;
    counts.resumed+= SSL_session_reused(c->tls);
  }
  for (;;)
  {
    size_t room= MOST - 1 - c->have;
    ssize_t got= c->tls ? SSL_read(c->tls, c->request + c->have, (int) room) : read(c->fd, c->request + c->have, room);
    if (got <= 0)
    {
      if (c->tls ? SSL_get_error(c->tls, (int) got) != SSL_ERROR_WANT_READ : got == 0 || errno != EAGAIN)
        drop(c);
      return;
    }
    c->have+= (size_t) got;
    if ((c->answer= answer_of(c)))
      break;
  }
  if (++counts.at_once > counts.most)
    counts.most= counts.at_once;
  if (!latency_ns)
  {
    answer(c);
    return;
  }
  c->due_ns= now_ns() + latency_ns;
  c->next= NULL;
  bool is_first= !first;
  *last= c;
  last= &c->next;
  if (is_first)
    arm();
}

static void load(const char *path)
{
  char blob[9000], plain[64], arn[256];
  FILE *file= fopen(path, "r");
  if (!file)
    die(path);
  for (unsigned id= 0; fscanf(file, "%8999s %63s %255s", blob, plain, arn) == 3; id++)
  {
    char *body, *text;
    int length= asprintf(&body, "{\"KeyId\":\"%s\",\"Plaintext\":\"%s\",\"EncryptionAlgorithm\":\"SYMMETRIC_DEFAULT\"}", arn, plain);
    if (length < 0 || asprintf(&text, "HTTP/1.1 200 OK\r\nx-amzn-RequestId: 00000000-0000-4000-8000-%012x\r\n"
                               "Cache-Control: no-cache, no-store, must-revalidate, private\r\nExpires: 0\r\nPragma: no-cache\r\n"
                               "Date: Mon, 30 Nov 2026 08:00:00 GMT\r\nContent-Type: application/x-amz-json-1.1\r\n"
                               "Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%s", id, length, body) < 0)
      die("memory");
    free(body);
    struct known *entry= malloc(sizeof *entry);
    if (!entry || !(entry->blob= strdup(blob)))
      die("memory");
    entry->text= text;
    if (!tsearch(entry, &table, by_blob))
      die("table");
  }
  fclose(file);
}

static void obey(void)
{
  static char line[4096];
  static size_t have;
  ssize_t got= read(STDIN_FILENO, line + have, sizeof line - 1 - have);
  if (got <= 0)
    exit(0);
  line[have+= (size_t) got]= 0;
  char *end= strchr(line, '\n');
  if (!end)
    return;
  *end= 0;
  have= 0;
  if (!strncmp(line, "load ", 5))
    load(line + 5);
  else if (!strncmp(line, "latency ", 8))
    latency_ns= strtoull(line + 8, NULL, 10) * 1000;
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  printf("%ld %ld %ld %ld %ld\n", counts.answers, counts.most, counts.connections, counts.resumed,
         (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec);
  fflush(stdout);
  if (!strcmp(line, "take"))
  {
    counts.answers= counts.connections= counts.resumed= 0;
    counts.most= counts.at_once;
  }
}

static void watch(int fd, void *who)
{
  struct epoll_event event= {.events= EPOLLIN, .data.ptr= who};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event))
    die("epoll");
}

static void welcome(int listener)
{
  int fd= accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on= 1;
  if (fd < 0)
    return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct connection *c= calloc(1, sizeof *c);
  if (!c)
    die("memory");
  c->fd= fd;
  counts.connections++;
  if (context)
  {
    c->tls= SSL_new(context);
    SSL_set_fd(c->tls, fd);
  }
  watch(fd, c);
}

int main(int argc, char **argv)
{
  struct sockaddr_in address= {.sin_family= AF_INET, .sin_addr.s_addr= htonl(INADDR_LOOPBACK)};
  socklen_t size= sizeof address;
  signal(SIGPIPE, SIG_IGN);
  if (argc == 3)
  {
    context= SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM) != 1)
      return 1;
  }
  int listener= socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (bind(listener, (struct sockaddr *) &address, size) || listen(listener, 1024) ||
      getsockname(listener, (struct sockaddr *) &address, &size))
    die("listen");
  poll_fd= epoll_create1(0);
  timer= timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  watch(STDIN_FILENO, &latency_ns);
  watch(timer, &timer);
  watch(listener, NULL);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;)
  {
    struct epoll_event events[256];
    int count= epoll_wait(poll_fd, events, 256, -1);
    for (int i= 0; i < count; i++)
    {
      void *who= events[i].data.ptr;
      if (!who)
        welcome(listener);
      else if (who == &latency_ns)
        obey();
      else if (who == &timer)
        take_due();
      else
        serve(who);
    }
  }
}
