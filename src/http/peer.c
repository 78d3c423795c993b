/* SPDX-License-Identifier: Apache-2.0
 *
 * The user at the other end of a connection.
 *
 * A Unix socket knows: SO_PEERCRED tells who called connect. A TCP connection of this machine has
 * two sockets, and the kernel tells of each whose it is: sock_diag is asked for the socket whose
 * addresses are ours the other way round. A client on another machine, or in another network
 * namespace, has no such socket here and is nobody.
 *
 *   fd -> getpeername, getsockname -> one exact request -> one answer -> uid
 *
 * What the answer must satisfy, since the client may try to be somebody else:
 *   1. It carries the addresses that were asked for. Where there is no connection the kernel
 *      answers with a socket that listens at the client's address, which may be anybody's.
 *   2. It has an inode. A socket that its process has closed, and that only waits for our last
 *      bytes, belongs to nobody any more and is reported as root's.
 *   3. In a user namespace users without a name there all look like one, so that one is nobody.
 *
 * To ask takes a descriptor. When there is none the client is not nobody, which would be kept for
 * as long as its connection lives, but unknown for now.
 *
 * IPv4 addresses are kept as IPv6 writes them (::ffff:a.b.c.d), so that a listener on [::] and
 * clients with either kind of socket are one case.
 *
 * SYNCHRONIZATION  None; each call has its own netlink socket. Nothing here waits: the kernel
 * answers a request for one socket before the call that sends it returns.
 */
#include "http/peer.h"

#include "http/source.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_BYTES 16
#define MAPPED_BYTES 12 /* of an IPv4 address written as IPv6, those before it */
#define EVERY_STATE UINT32_MAX
#define STATE_LISTENS 10 /* TCP_LISTEN of the kernel */

static const uint8_t mapped_prefix[MAPPED_BYTES] = {[10] = 0xff, [11] = 0xff};

struct end {
    uint8_t address[ADDRESS_BYTES];
    in_port_t port; /* network order */
};

/* The socket that is looked for, as its own process sees it. */
struct connection {
    struct end local, remote;
};

static bool is_v4(const struct end *end) {
    return memcmp(end->address, mapped_prefix, MAPPED_BYTES) == 0;
}

static void set_end(struct end *end, int family, const void *address, in_port_t port) {
    if (family == AF_INET6) {
        memcpy(end->address, address, ADDRESS_BYTES);
    } else {
        memcpy(end->address, mapped_prefix, MAPPED_BYTES);
        memcpy(end->address + MAPPED_BYTES, address, ADDRESS_BYTES - MAPPED_BYTES);
    }
    end->port = port;
}

static void read_end(const struct sockaddr_storage *address, struct end *ret_end) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    if (address->ss_family == AF_INET6)
        set_end(ret_end, AF_INET6, &in6->sin6_addr, in6->sin6_port);
    else
        set_end(ret_end, AF_INET, &in->sin_addr, in->sin_port);
}

/* ---- the kernel's table of sockets ---- */

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
};

static void put_address(__be32 out[4], const struct end *end) {
    if (is_v4(end))
        memcpy(out, end->address + MAPPED_BYTES, ADDRESS_BYTES - MAPPED_BYTES);
    else
        memcpy(out, end->address, ADDRESS_BYTES);
}

static struct question question_about(const struct connection *wanted) {
    struct question question = {
        .head = {.nlmsg_len = sizeof question,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = is_v4(&wanted->local) ? AF_INET : AF_INET6,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = EVERY_STATE,
                 .id = {.idiag_sport = wanted->local.port,
                        .idiag_dport = wanted->remote.port,
                        .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}},
    };
    put_address(question.body.id.idiag_src, &wanted->local);
    put_address(question.body.id.idiag_dst, &wanted->remote);
    return question;
}

static bool same_end(const struct end *end, int family, const __be32 address[4], __be16 port) {
    struct end other;
    set_end(&other, family, address, port);
    return end->port == other.port && memcmp(end->address, other.address, ADDRESS_BYTES) == 0;
}

/* Whether the answer is about the wanted socket and tells whose it is. */
static bool is_answer(const struct inet_diag_msg *answer, const struct connection *wanted) {
    const struct inet_diag_sockid *id = &answer->id;
    return same_end(&wanted->local, answer->idiag_family, id->idiag_src, id->idiag_sport) &&
           same_end(&wanted->remote, answer->idiag_family, id->idiag_dst, id->idiag_dport) &&
           answer->idiag_state != STATE_LISTENS && answer->idiag_inode != 0;
}

static uint32_t read_answer(int netlink, const struct connection *wanted) {
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } message;
    struct sockaddr_nl from;
    socklen_t from_bytes = sizeof from;
    ssize_t got = recvfrom(netlink, &message, sizeof message, MSG_DONTWAIT,
                           (struct sockaddr *)&from, &from_bytes);
    if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) || from.nl_pid != 0 ||
        message.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return HTTP_VIEWER_NOBODY;
    const struct inet_diag_msg *answer = NLMSG_DATA(&message.head);
    return is_answer(answer, wanted) ? answer->idiag_uid : HTTP_VIEWER_NOBODY;
}

static int shortage_or_0(int error) {
    return http_is_shortage(error) ? error : 0;
}

static int owner_of(const struct connection *wanted, uint32_t *ret_uid) {
    struct question question = question_about(wanted);
    int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0)
        return shortage_or_0(-errno);
    if (send(netlink, &question, sizeof question, 0) == (ssize_t)sizeof question)
        *ret_uid = read_answer(netlink, wanted);
    close(netlink);
    return 0;
}

/* ---- users ---- */

/* The first number of a small file of the kernel's, or -1 where there is none. Returns 0 or a
 * shortage. */
static int read_number(const char *path, const char *format, long long *ret_value) {
    FILE *file = fopen(path, "re");
    *ret_value = -1;
    if (file == NULL)
        return shortage_or_0(-errno);
    if (fscanf(file, format, ret_value) != 1)
        *ret_value = -1;
    fclose(file);
    return 0;
}

/* Makes nobody of the uid that stands for all those without a name in our user namespace. Where all
 * uids have one, it is a user like any other. Returns 0 or a shortage. */
static int drop_nameless(uint32_t *uid) {
    long long nameless;
    long long mapped = UINT32_MAX;
    int error = read_number("/proc/sys/kernel/overflowuid", "%lld", &nameless);
    if (error == 0 && *uid == nameless)
        error = read_number("/proc/self/uid_map", "%*u %*u %lld", &mapped);
    if (error < 0 || mapped != UINT32_MAX)
        *uid = HTTP_VIEWER_NOBODY;
    return error;
}

static uint32_t unix_uid(int fd) {
    struct ucred credentials;
    socklen_t bytes = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) < 0)
        return HTTP_VIEWER_NOBODY;
    return credentials.uid;
}

static int tcp_uid(const struct sockaddr_storage *here, const struct sockaddr_storage *there,
                   uint32_t *ret_uid) {
    struct connection wanted;
    read_end(there, &wanted.local);
    read_end(here, &wanted.remote);
    return owner_of(&wanted, ret_uid);
}

int http_peer_uid(int fd, uint32_t *ret_uid) {
    struct sockaddr_storage here = {0};
    struct sockaddr_storage there = {0};
    socklen_t here_bytes = sizeof here;
    socklen_t there_bytes = sizeof there;
    int error = 0;
    *ret_uid = HTTP_VIEWER_NOBODY;
    if (getsockname(fd, (struct sockaddr *)&here, &here_bytes) < 0 ||
        getpeername(fd, (struct sockaddr *)&there, &there_bytes) < 0)
        return 0;
    if (here.ss_family == AF_UNIX)
        *ret_uid = unix_uid(fd);
    else if (here.ss_family == AF_INET || here.ss_family == AF_INET6)
        error = tcp_uid(&here, &there, ret_uid);
    return error < 0 || *ret_uid == HTTP_VIEWER_NOBODY ? error : drop_nameless(ret_uid);
}
