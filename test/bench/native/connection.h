// One connection of the endpoint, plain or TLS: a buffer to read through, and whole writes.
#ifndef CONNECTION_H
#define CONNECTION_H

#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)

struct connection {
  int fd;
  SSL *tls; // NULL for plain HTTP
  char *buffer;
  size_t start, end; // what is read and not yet used
};

// Reads more into the buffer: bytes read, 0 at the end, -1 on an error.
static ssize_t connection_fill(struct connection *c) {
  if (c->start == c->end) c->start = c->end = 0;
  if (c->start > 0 && c->end == BUFFER_SIZE) {
    memmove(c->buffer, c->buffer + c->start, c->end - c->start);
    c->end -= c->start;
    c->start = 0;
  }
  size_t room = BUFFER_SIZE - c->end;
  ssize_t got = c->tls ? SSL_read(c->tls, c->buffer + c->end, (int)room) : recv(c->fd, c->buffer + c->end, room, 0);
  if (got > 0) c->end += (size_t)got;
  return got;
}

// `more` says that another write follows at once, so that both may share a packet.
static int connection_write(struct connection *c, const char *bytes, size_t size, int more) {
  while (size > 0) {
    ssize_t sent = c->tls ? SSL_write(c->tls, bytes, (int)(size > 1 << 20 ? 1 << 20 : size))
                          : send(c->fd, bytes, size, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (sent <= 0) return -1;
    bytes += sent;
    size -= (size_t)sent;
  }
  return 0;
}

// Sends `size` bytes of a file from `offset`: from the page cache without a copy, or through TLS from its mapping.
static int connection_send_file(struct connection *c, int file, const char *mapping, off_t offset, size_t size) {
  if (c->tls) return connection_write(c, mapping + offset, size, 0);
  while (size > 0) {
    ssize_t sent = sendfile(c->fd, file, &offset, size);
    if (sent <= 0) return -1;
    size -= (size_t)sent;
  }
  return 0;
}

#endif
