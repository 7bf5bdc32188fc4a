// The least that any contender must do: one thread, one GET, decryption in place, one PUT. Nothing is signed or checked.
//
// usage: floor PORT SOURCE_PATH DESTINATION_PATH SIZE KEY_HEX IV_HEX
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int connect_to(int port) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void send_all(int fd, const void *bytes, size_t size) {
  for (const char *at = bytes; size > 0;) {
    ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
    if (sent <= 0) fail("send");
    at += sent;
    size -= (size_t)sent;
  }
}

// Reads up to the end of a response's head. Returns how many bytes after it are in `buffer`.
static size_t receive_head(int fd, char *buffer, const char *status) {
  size_t size = 0;
  for (;;) {
    ssize_t got = recv(fd, buffer + size, BUFFER_SIZE - size, 0);
    if (got <= 0) fail("head");
    size += (size_t)got;
    char *stop = memmem(buffer, size, "\r\n\r\n", 4);
    if (!stop) continue;
    if (strncmp(buffer + 9, status, 3) != 0) {
      fprintf(stderr, "answered %.40s\n", buffer);
      exit(1);
    }
    size -= (size_t)(stop + 4 - buffer);
    memmove(buffer, stop + 4, size);
    return size;
  }
}

static void read_hex(uint8_t *out, size_t size, const char *text) {
  for (size_t n = 0; n < size; n++) sscanf(text + 2 * n, "%2hhx", out + n);
}

int main(int count, char **arguments) {
  if (count != 7) return 2;
  int port = atoi(arguments[1]);
  uint64_t left = strtoull(arguments[4], NULL, 10);
  uint8_t key[32], iv[16];
  read_hex(key, sizeof key, arguments[5]);
  read_hex(iv, sizeof iv, arguments[6]);
  EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
  EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key, iv);
  EVP_CIPHER_CTX_set_padding(cipher, 0);

  static char head[2048];
  char *buffer = malloc(BUFFER_SIZE);
  int source = connect_to(port), destination = connect_to(port);
  send_all(source, head, (size_t)snprintf(head, sizeof head, "GET /%s HTTP/1.1\r\nHost: bench\r\n\r\n", arguments[2]));
  send_all(destination, head,
           (size_t)snprintf(head, sizeof head, "PUT /%s HTTP/1.1\r\nHost: bench\r\nContent-Length: %llu\r\n\r\n",
                            arguments[3], (unsigned long long)left));

  size_t filled = receive_head(source, buffer, "200");
  for (;;) {
    // Whole blocks only, so that the output is as long as the input: decryption is in place.
    size_t whole = filled & ~(size_t)15;
    int out = 0;
    if (whole > 0 && EVP_DecryptUpdate(cipher, (uint8_t *)buffer, &out, (uint8_t *)buffer, (int)whole) != 1) return 1;
    send_all(destination, buffer, (size_t)out);
    left -= (uint64_t)out;
    memmove(buffer, buffer + whole, filled - whole);
    filled -= whole;
    if (left == 0) break;
    ssize_t got = recv(source, buffer + filled, BUFFER_SIZE - filled, 0);
    if (got <= 0) fail("body");
    filled += (size_t)got;
  }
  receive_head(destination, buffer, "200");
  return 0;
}
