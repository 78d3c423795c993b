/* SPDX-License-Identifier: Apache-2.0
 *
 * Raw bytes as a client's side of a connection, against a server with a box made by hand. The
 * input is sent whole, the connection's writing side is closed, and everything that comes back is
 * read. What is checked is that the server lives, answers only with HTTP, and lets go of the
 * connection.
 *
 * `seconds=` would make the server wait as it should; inputs that ask for it are skipped.
 */
#include "http/server.h"
#include "support/box_fixture.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct http_server *server;
static struct http_endpoint endpoint;
static struct box_fixture *box; /* lives as long as the server */

static void begin(void) {
    static struct http_memory_source memory;
    char address[64];
    char problem[HTTP_PROBLEM_BYTES];
    box = box_fixture_typical();
    memory = (struct http_memory_source){box_fixture_base(box), box_fixture_bytes(box)};
    snprintf(address, sizeof address, "unix:/tmp/mallard-fuzz.%d", (int)getpid());
    struct http_options options = {.address = address, .source = http_memory_source(&memory)};
    if (http_server_start(&options, &server, problem) < 0 ||
        http_endpoint_parse(address, &endpoint, problem) < 0) {
        fprintf(stderr, "%s\n", problem);
        abort();
    }
}

static int connect_client(void) {
    struct timeval patience = {.tv_sec = 30};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        connect(fd, (const struct sockaddr *)&endpoint.address, endpoint.address_bytes) < 0)
        abort();
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

/* Reads to the end; the first bytes must be those of a response. */
static void read_answer(int fd) {
    static const char version[] = "HTTP/1.";
    char answer[65536];
    size_t begun = 0;
    ssize_t got;
    while ((got = recv(fd, answer + begun, sizeof answer - begun, 0)) > 0) {
        size_t compared = begun + (size_t)got;
        if (memcmp(answer, version, compared < 7 ? compared : 7) != 0)
            abort();
        begun = compared < 7 ? compared : 7;
    }
    if (got < 0 && errno != ECONNRESET)
        abort(); /* neither an answer nor an end within the patience */
}

/* True when the input may name the parameter, written plainly or with escapes. */
static bool asks_to_wait(const uint8_t *data, size_t bytes) {
    char *copy = malloc(bytes + 1);
    size_t length = 0;
    if (copy == NULL)
        return true;
    for (size_t i = 0; i < bytes; i++) {
        char escape[3] = {(char)data[i], '\0', '\0'};
        bool escaped = data[i] == '%' && i + 2 < bytes;
        if (escaped)
            memcpy(escape, data + i + 1, 2);
        copy[length++] = escaped ? (char)strtol(escape, NULL, 16) : escape[0];
        i += escaped ? 2 : 0;
    }
    bool asks =
        memmem(data, bytes, "seconds", 7) != NULL || memmem(copy, length, "seconds", 7) != NULL;
    free(copy);
    return asks;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (server == NULL)
        begin();
    if (asks_to_wait(data, bytes))
        return 0;
    int fd = connect_client();
    for (size_t sent = 0; sent < bytes;) {
        ssize_t done = send(fd, data + sent, bytes - sent, MSG_NOSIGNAL);
        if (done <= 0)
            break; /* the server has said no and closed */
        sent += (size_t)done;
    }
    shutdown(fd, SHUT_WR);
    read_answer(fd);
    close(fd);
    return 0;
}
