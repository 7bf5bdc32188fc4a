// Accepts connections on a free port of loopback, with or without TLS. Each gets a thread.
static void *run_connection(void *connection);

struct listener {
  int fd, port;
  SSL_CTX *tls;
};

static struct listener listen_on_loopback(SSL_CTX *tls) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1024) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
    perror("listen");
    exit(1);
  }
  return (struct listener){fd, ntohs(address.sin_port), tls};
}

static void *run_listener(void *argument) {
  struct listener *l = argument;
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&detached, 512 * 1024);
  for (;;) {
    int fd = accept(l->fd, NULL, NULL), one = 1;
    if (fd < 0) continue;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->buffer = malloc(BUFFER_SIZE);
    if (l->tls) {
      c->tls = SSL_new(l->tls);
      SSL_set_fd(c->tls, fd);
    }
    pthread_t thread;
    pthread_create(&thread, &detached, run_connection, c);
  }
  return NULL;
}
