/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening: from the text of an address to a socket.
 *
 * A Unix socket is made with mode 0600 from the start: the mode of the socket's inode is set
 * before bind gives it a name, so there is no moment at which others could connect and the umask
 * of the program is left alone. A mode for others is set on the file before anybody can be
 * accepted. A socket file that nobody listens on is a leftover and is replaced; one that answers
 * is an error, and so is any other kind of file.
 *
 * SYNCHRONIZATION  None: everything is in the caller's memory.
 */
#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 1024
#define UNIX_PREFIX "unix:"

static int problem(char ret_problem[HTTP_PROBLEM_BYTES], int error, const char *text,
                   const char *address) {
    if (error == -EINVAL)
        snprintf(ret_problem, HTTP_PROBLEM_BYTES, "%s: %.150s", text, address);
    else
        snprintf(ret_problem, HTTP_PROBLEM_BYTES, "%s %.150s: %s", text, address, strerror(-error));
    return error;
}

static int parse_unix(const char *path, struct http_endpoint *ret_endpoint,
                      char ret_problem[HTTP_PROBLEM_BYTES]) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (*path != '/')
        return problem(ret_problem, -EINVAL, "a unix: address needs an absolute path", path);
    if (strlen(path) >= sizeof address.sun_path)
        return problem(ret_problem, -EINVAL, "the path of a unix: address is too long", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    memset(ret_endpoint, 0, sizeof *ret_endpoint);
    memcpy(&ret_endpoint->address, &address, sizeof address);
    ret_endpoint->address_bytes = sizeof address;
    ret_endpoint->local = true;
    return 0;
}

static int parse_port(const char *text, in_port_t *ret_port) {
    size_t digits = strspn(text, "0123456789");
    unsigned long port = strtoul(text, NULL, 10);
    if (digits == 0 || digits > 5 || text[digits] != '\0' || port > 65535)
        return -EINVAL;
    *ret_port = htons((in_port_t)port);
    return 0;
}

static void set_v4(struct http_endpoint *endpoint, struct in_addr address, in_port_t port) {
    struct sockaddr_in *in = (struct sockaddr_in *)&endpoint->address;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = address, .sin_port = port};
    endpoint->address_bytes = sizeof *in;
    endpoint->local = ntohl(address.s_addr) >> 24 == 127;
}

static void set_v6(struct http_endpoint *endpoint, struct in6_addr address, in_port_t port) {
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&endpoint->address;
    *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = address, .sin6_port = port};
    endpoint->address_bytes = sizeof *in6;
    endpoint->local = IN6_IS_ADDR_LOOPBACK(&address);
}

/* `host` without brackets; "" is every address, as in Go. */
static int set_host(struct http_endpoint *endpoint, const char *host, in_port_t port) {
    struct in_addr v4;
    struct in6_addr v6;
    memset(endpoint, 0, sizeof *endpoint);
    if (*host == '\0')
        set_v6(endpoint, in6addr_any, port);
    else if (strcmp(host, "localhost") == 0)
        set_v4(endpoint, (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
    else if (inet_pton(AF_INET, host, &v4) == 1)
        set_v4(endpoint, v4, port);
    else if (inet_pton(AF_INET6, host, &v6) == 1)
        set_v6(endpoint, v6, port);
    else
        return -EINVAL;
    return 0;
}

int http_endpoint_parse(const char *text, struct http_endpoint *ret_endpoint,
                        char ret_problem[HTTP_PROBLEM_BYTES]) {
    static const char wanted[] = "an address is written as 127.0.0.1:6060, [::1]:6060 or "
                                 "unix:/path, not";
    char host[INET6_ADDRSTRLEN + 2];
    in_port_t port;
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_unix(text + strlen(UNIX_PREFIX), ret_endpoint, ret_problem);
    const char *colon = strrchr(text, ':');
    bool bracketed = *text == '[';
    if (colon == NULL || parse_port(colon + 1, &port) < 0 || (bracketed && colon[-1] != ']'))
        return problem(ret_problem, -EINVAL, wanted, text);
    const char *begin = text + bracketed;
    size_t bytes = (size_t)(colon - begin) - bracketed;
    if (bytes >= sizeof host || (!bracketed && memchr(begin, ':', bytes) != NULL))
        return problem(ret_problem, -EINVAL, wanted, text);
    memcpy(host, begin, bytes);
    host[bytes] = '\0';
    if (set_host(ret_endpoint, host, port) < 0)
        return problem(ret_problem, -EINVAL, wanted, text);
    return 0;
}

void http_endpoint_text(const struct http_endpoint *endpoint, char *ret_text, size_t bytes) {
    char host[INET6_ADDRSTRLEN];
    const struct sockaddr_in *in = (const struct sockaddr_in *)&endpoint->address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&endpoint->address;
    const struct sockaddr_un *un = (const struct sockaddr_un *)&endpoint->address;
    switch (endpoint->address.ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(ret_text, bytes, "%s:%u", host, ntohs(in->sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        snprintf(ret_text, bytes, "[%s]:%u", host, ntohs(in6->sin6_port));
        break;
    default:
        snprintf(ret_text, bytes, UNIX_PREFIX "%s", un->sun_path);
    }
}

void http_endpoint_remove(const struct http_endpoint *endpoint) {
    if (endpoint->address.ss_family == AF_UNIX)
        unlink(((const struct sockaddr_un *)&endpoint->address)->sun_path);
}

/* True when a socket file is there and refuses: its server is gone. */
static bool is_leftover(const struct http_endpoint *endpoint) {
    struct stat info;
    const char *path = ((const struct sockaddr_un *)&endpoint->address)->sun_path;
    if (endpoint->address.ss_family != AF_UNIX || lstat(path, &info) < 0 || !S_ISSOCK(info.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)&endpoint->address, endpoint->address_bytes) < 0 &&
        errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_socket(int fd, const struct http_endpoint *endpoint) {
    const struct sockaddr *address = (const struct sockaddr *)&endpoint->address;
    if (bind(fd, address, endpoint->address_bytes) == 0)
        return 0;
    if (errno != EADDRINUSE || !is_leftover(endpoint))
        return -errno;
    http_endpoint_remove(endpoint);
    return bind(fd, address, endpoint->address_bytes) == 0 ? 0 : -errno;
}

static int open_socket(const struct http_endpoint *endpoint) {
    int on = 1;
    int off = 0;
    int family = endpoint->address.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (family == AF_UNIX)
        fchmod(fd, 0600);
    else
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    return fd;
}

/* A machine without IPv6: every address means every IPv4 address. */
static void fall_back_to_v4(struct http_endpoint *endpoint) {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&endpoint->address;
    if (endpoint->address.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
        set_v4(endpoint, (struct in_addr){htonl(INADDR_ANY)}, in6->sin6_port);
}

/* Who else may connect to a Unix socket. Nobody can before it listens. */
static int open_up(const struct http_endpoint *endpoint) {
    const char *path = ((const struct sockaddr_un *)&endpoint->address)->sun_path;
    if (endpoint->address.ss_family != AF_UNIX || endpoint->socket_mode == 0)
        return 0;
    return chmod(path, endpoint->socket_mode) == 0 ? 0 : -errno;
}

int http_endpoint_listen(struct http_endpoint *endpoint, int *ret_fd,
                         char ret_problem[HTTP_PROBLEM_BYTES]) {
    char text[sizeof(struct sockaddr_un) + 8];
    int fd = open_socket(endpoint);
    if (fd == -EAFNOSUPPORT) {
        fall_back_to_v4(endpoint);
        fd = open_socket(endpoint);
    }
    http_endpoint_text(endpoint, text, sizeof text);
    if (fd < 0)
        return problem(ret_problem, fd, "cannot open a socket for", text);
    int error = bind_socket(fd, endpoint);
    if (error == 0)
        error = open_up(endpoint);
    if (error == 0 && listen(fd, BACKLOG) < 0)
        error = -errno;
    if (error < 0) {
        close(fd);
        return problem(ret_problem, error, "cannot listen on", text);
    }
    if (endpoint->address.ss_family != AF_UNIX)
        getsockname(fd, (struct sockaddr *)&endpoint->address, &endpoint->address_bytes);
    *ret_fd = fd;
    return 0;
}
