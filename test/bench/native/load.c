// Sends prepared HTTP requests over several connections and reports how long the responses took. Each connection sends its next
// request when the last one is answered. In C, so that the load generator takes little of a shared machine.
//
// usage: load PORT CONNECTIONS REQUESTS_FILE; in the file, its length (4 bytes, little-endian) precedes each request.
// Prints JSON: responses by status, seconds, and percentiles of the response times in milliseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_SIZE 16384

struct sender {
  int fd;
  double sent_at;
  size_t filled;
  char answer[ANSWER_SIZE];
};

static const char *requests, *requests_end;
static double *times;
static size_t answered;
static int statuses[600];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

// 0 if there is nothing left to send.
static int send_next(struct sender *s) {
  if (requests == requests_end) return 0;
  uint32_t size;
  memcpy(&size, requests, 4);
  const char *bytes = requests + 4;
  requests = bytes + size;
  s->filled = 0;
  s->sent_at = now();
  // A request is far smaller than a socket's empty buffer, so it is sent at once or not at all.
  if (send(s->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
  return 1;
}

// 1 once the response is complete.
static int receive(struct sender *s) {
  ssize_t got = recv(s->fd, s->answer + s->filled, ANSWER_SIZE - 1 - s->filled, 0);
  if (got <= 0) fail("the server closed a connection");
  s->filled += (size_t)got;
  s->answer[s->filled] = 0;
  char *stop = strstr(s->answer, "\r\n\r\n");
  if (!stop) return 0;
  char *length = strcasestr(s->answer, "\r\ncontent-length:");
  size_t size = (size_t)(stop + 4 - s->answer) + (length && length < stop ? strtoull(length + 17, NULL, 10) : 0);
  return s->filled >= size;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double percentile(double share) {
  return 1000 * times[(size_t)(share * (double)(answered - 1))];
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  int connections = atoi(arguments[2]);
  int file = open(arguments[3], O_RDONLY);
  struct stat stats;
  if (file < 0 || fstat(file, &stats) < 0) fail(arguments[3]);
  requests = mmap(NULL, (size_t)stats.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
  requests_end = requests + stats.st_size;
  size_t total = 0;
  for (const char *at = requests; at < requests_end; total++) {
    uint32_t size;
    memcpy(&size, at, 4);
    at += 4 + size;
  }
  times = malloc(total * sizeof *times);

  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)atoi(arguments[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sender *senders = calloc((size_t)connections, sizeof *senders);
  int events = epoll_create1(0);
  for (int n = 0; n < connections; n++) {
    int one = 1;
    senders[n].fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(senders[n].fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    setsockopt(senders[n].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &senders[n]};
    epoll_ctl(events, EPOLL_CTL_ADD, senders[n].fd, &event);
  }
  double started = now();
  for (int n = 0; n < connections; n++) send_next(&senders[n]);
  while (answered < total) {
    struct epoll_event ready[64];
    int got = epoll_wait(events, ready, 64, 10000);
    if (got <= 0) fail("no answer within 10 s");
    for (int n = 0; n < got; n++) {
      struct sender *s = ready[n].data.ptr;
      if (!receive(s)) continue;
      times[answered++] = now() - s->sent_at;
      int status = atoi(s->answer + 9);
      statuses[status > 0 && status < 600 ? status : 0]++;
      send_next(s);
    }
  }
  double seconds = now() - started;

  qsort(times, answered, sizeof *times, compare);
  printf("{\"seconds\":%.4f,\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"maxMs\":%.3f,\"statuses\":{", seconds, percentile(0.5),
         percentile(0.99), percentile(1));
  const char *comma = "";
  for (int status = 0; status < 600; status++)
    if (statuses[status] > 0) {
      printf("%s\"%d\":%d", comma, status, statuses[status]);
      comma = ",";
    }
  printf("}}\n");
  return 0;
}
