/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's life: start, serve, stop.
 *
 * libmicrohttpd runs in external polling mode, so all threads are made here: one loop that accepts,
 * parses and sends (loop.c), and two workers.
 *
 * Everything that opens a descriptor happens on the loop's own thread, after it has taken a
 * private descriptor table (fds.c); the starter waits for the outcome, so that a taken port is an
 * error of start and not a line in a log.
 *
 * A server that has lost its descriptors (loop.c) ends without touching their numbers, and leaves
 * its memory behind. So does one whose library is broken (panic.c), but its port is closed.
 *
 * SYNCHRONIZATION  `lock` guards `state` and `workers_end`: once that is set the loop joins and
 * frees them, and the stopper leaves them alone. `stopping` is atomic. The rest is the loop's after
 * the start. Workers touch exchanges that they were given and MHD_resume_connection.
 *
 * It must never end the program, write to its standard output, or let a signal be handled on its
 * threads (all are blocked; sends use MSG_NOSIGNAL, in the library).
 */
#include "http/server.h"

#include "http/fds.h"
#include "http/loop.h"
#include "http/panic.h"
#include "view/symbols.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS 2
#define CONNECTION_MEMORY_BYTES (64u << 10)
#define PER_ADDRESS_MAX 64u
#define FLUSH_TURNS 10
#define JOIN_NAP_NS 100000
#define ADDRESS_BYTES 128

enum state { STATE_STARTING, STATE_SERVING, STATE_FAILED };

struct http_server {
    struct http_service service;
    struct http_options options; /* constant after start; the token is our copy */
    struct http_endpoint endpoint;
    struct http_loop loop;
    pthread_t thread;
    bool own_table;        /* of descriptors; constant once serving */
    _Atomic bool stopping; /* set by stop, read by the loop */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum state state; /* lock */
    int error;        /* lock; of STATE_FAILED */
    bool workers_end; /* lock */
    _Atomic bool
        broken; /* on a worker the library found itself so; the descriptors are ours still */
    char address[ADDRESS_BYTES];
    char problem[HTTP_PROBLEM_BYTES];
    char token[HTTP_TOKEN_BYTES];
};

static void count_threads(const struct http_server *server, int change) {
    if (server->options.threads != NULL)
        atomic_fetch_add(server->options.threads, (unsigned)change);
}

static bool uses_tls(const struct http_options *options) {
    return options->certificate_pem != NULL;
}

static struct MHD_Daemon *start_daemon(struct http_server *server) {
    struct http_service *service = &server->service;
    bool local = server->endpoint.local;
    bool tls = uses_tls(&server->options);
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET;
    struct MHD_OptionItem pem[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)server->options.certificate_pem},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)server->options.key_pem},
        {MHD_OPTION_END, 0, NULL},
    };
    http_panic_install();
    return MHD_start_daemon(tls ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, http_exchange_handle,
                            service, MHD_OPTION_URI_LOG_CALLBACK, http_exchange_begin, service,
                            MHD_OPTION_NOTIFY_COMPLETED, http_exchange_end, service,
                            MHD_OPTION_NOTIFY_CONNECTION, http_exchange_connection, service,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTION_SLOTS,
                            MHD_OPTION_PER_IP_CONNECTION_LIMIT, local ? 0u : PER_ADDRESS_MAX,
                            MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                            MHD_OPTION_ARRAY, tls ? pem : pem + 2, MHD_OPTION_END);
}

/* ---- start and stop, on the loop's thread ---- */

static int open_all(struct http_server *server) {
    struct http_loop *loop = &server->loop;
    struct stat info;
    if (server->options.flags & HTTP_GUEST)
        server->own_table = http_fds_make_private() == 0;
    loop->exposed = server->options.flags & HTTP_GUEST && !server->own_table;
    int error = http_endpoint_listen(&server->endpoint, &loop->listen_fd, server->problem);
    if (error < 0)
        return error;
    loop->listen_fd = http_loop_keep_fd(loop, loop->listen_fd);
    server->service.wake_fd = http_loop_keep_fd(loop, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (server->service.wake_fd < 0 || fstat(loop->listen_fd, &info) < 0)
        return -errno;
    loop->listen_inode = info.st_ino;
    http_endpoint_text(&server->endpoint, server->address, sizeof server->address);
    return 0;
}

/* A worker's last act. The stopper cannot do it: its table of descriptors may be another. */
static void wake_loop(void *context) {
    struct http_server *server = context;
    count_threads(server, -1);
    http_service_wake(&server->service);
}

/* Instead of the above, where the library is broken: the loop ends, too, and joins. */
static void lose_worker(void *context) {
    struct http_server *server = context;
    count_threads(server, -1);
    server->broken = true;
    if (!atomic_exchange(&server->service.lost, true))
        eventfd_write(server->service.wake_fd, 1);
}

static void begin_worker(void *context) {
    struct http_server *server = context;
    if (server->options.thread_begin != NULL)
        server->options.thread_begin();
    http_panic_guard(lose_worker, server);
}

/* What debug information took was many small pieces. In a program that is not ours they are left
 * to its own scavenger, as a trim would take all that the program has free. */
static void rest(void *context) {
    struct http_server *server = context;
    if (view_symbols_rest(server->service.context.symbols) && !(server->options.flags & HTTP_GUEST))
        malloc_trim(0);
}

static int begin_service(struct http_server *server) {
    const union MHD_DaemonInfo *info;
    server->loop.daemon = start_daemon(server);
    if (server->loop.daemon == NULL && uses_tls(&server->options)) {
        snprintf(server->problem, sizeof server->problem,
                 "the certificate and its key cannot be used: they are no PEM, or no pair");
        return -EINVAL;
    }
    if (server->loop.daemon == NULL)
        return -ENOMEM;
    info = MHD_get_daemon_info(server->loop.daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL)
        return -ENOTSUP;
    server->loop.epoll_fd = info->epoll_fd;
    server->service.context.symbols = server->options.symbols;
    int error = http_scrapers_create(&server->service.context.scrapers);
    if (error == 0 && server->options.symbols == NULL)
        error = view_symbols_create(&server->service.context.symbols);
    if (error < 0)
        return error;
    const struct http_worker_hooks hooks = {
        .begin = begin_worker, .end = wake_loop, .idle = rest, .context = server};
    count_threads(server, WORKERS);
    return http_workers_start(WORKERS, &hooks, &server->service.workers);
}

/* Forgets the number before it is free for the program: a child forked later closes what it finds
 * noted, see http_server_forget. */
static void close_noted(int *fd) {
    int number = *fd;
    *fd = -1;
    if (number >= 0)
        close(number);
}

static void stop_daemon(struct http_loop *loop) {
    loop->epoll_fd = -1;
    if (loop->daemon != NULL)
        MHD_stop_daemon(loop->daemon);
}

static void stop_listening(struct http_server *server) {
    if (server->loop.listen_fd >= 0)
        http_endpoint_remove(&server->endpoint);
    close_noted(&server->loop.listen_fd);
}

/* Sends what is ready to be sent and closes. Workers stop first: they resume what they held, and
 * the library must not be stopped while a connection is suspended. */
static void end_service(struct http_server *server) {
    pthread_mutex_lock(&server->lock);
    server->workers_end = true;
    pthread_mutex_unlock(&server->lock);
    http_workers_stop(server->service.workers);
    if (atomic_load(&server->service.lost)) {
        if (server->broken)
            stop_listening(server);
        return;
    }
    for (int i = 0; server->loop.daemon != NULL && i < FLUSH_TURNS; i++)
        MHD_run(server->loop.daemon);
    http_connections_cut_all(&server->service.connections);
    stop_daemon(&server->loop);
    if (server->options.symbols == NULL)
        view_symbols_destroy(server->service.context.symbols);
    http_scrapers_destroy(server->service.context.scrapers);
    stop_listening(server);
    close_noted(&server->service.wake_fd);
}

static void ask_workers_to_end(struct http_server *server) {
    pthread_mutex_lock(&server->lock);
    if (!server->workers_end && server->service.workers != NULL)
        http_workers_ask_stop(server->service.workers);
    pthread_mutex_unlock(&server->lock);
}

static void report(struct http_server *server, enum state state, int error) {
    pthread_mutex_lock(&server->lock);
    server->state = state;
    server->error = error;
    pthread_cond_signal(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* The library is broken and the loop ends here: the workers end by themselves, and whoever waits
 * for the start is told. */
static void lose_loop(void *context) {
    struct http_server *server = context;
    atomic_store(&server->service.lost, true);
    ask_workers_to_end(server);
    stop_listening(server);
    count_threads(server, -1);
    pthread_mutex_lock(&server->lock);
    bool starting = server->state == STATE_STARTING;
    pthread_mutex_unlock(&server->lock);
    if (starting)
        report(server, STATE_FAILED, -ENOTRECOVERABLE);
}

static void *server_main(void *argument) {
    struct http_server *server = argument;
    if (server->options.thread_begin != NULL)
        server->options.thread_begin();
    prctl(PR_SET_NAME, (unsigned long)"mallard-http", 0, 0, 0);
    http_panic_guard(lose_loop, server);
    count_threads(server, 1);
    int error = open_all(server);
    if (error == 0)
        error = begin_service(server);
    if (error == 0) {
        report(server, STATE_SERVING, 0);
        while (!atomic_load(&server->stopping) && !atomic_load(&server->service.lost))
            http_loop_turn(&server->loop);
    }
    end_service(server);
    if (error < 0)
        report(server, STATE_FAILED, error);
    count_threads(server, -1);
    return NULL;
}

/* ---- for the starter ---- */

/* A rebinding attack comes through a browser, which shows no token. */
static unsigned rules_of(const struct http_options *options, const struct http_endpoint *endpoint) {
    bool tcp = endpoint->address.ss_family != AF_UNIX;
    bool optional = options->flags & HTTP_CHECK_PEER && endpoint->local;
    unsigned rules = 0;
    if (options->flags & HTTP_CHECK_PEER)
        rules |= HTTP_RULE_PEER;
    if (optional)
        rules |= HTTP_RULE_TOKEN_OPTIONAL;
    if (endpoint->local && tcp && (options->token == NULL || optional))
        rules |= HTTP_RULE_HOST;
    return rules;
}

static void prepare(struct http_server *server, const struct http_options *options) {
    server->options = *options;
    server->loop = (struct http_loop){.service = &server->service, .listen_fd = -1, .epoll_fd = -1};
    server->service.wake_fd = -1;
    server->endpoint.socket_mode = options->socket_mode;
    server->service.context = (struct http_context){
        .source = &server->options.source,
        .address = server->address,
        .scheme = uses_tls(options) ? "https" : "http",
        .is_daemon = options->flags & HTTP_DAEMON,
        .more_metrics = options->more_metrics,
        .more_context = options->more_context,
        .waiting_bytes = &server->service.waiting_bytes,
    };
    server->service.admission.rules = rules_of(options, &server->endpoint);
    if (options->token != NULL) {
        memcpy(server->token, options->token, strlen(options->token) + 1);
        server->service.admission.token = server->token;
    }
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
}

static void dispose(struct http_server *server) {
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

/* Starts the loop's thread and waits until it serves or has failed. */
static int launch(struct http_server *server) {
    int error = http_thread_create(&server->thread, server_main, server);
    if (error < 0)
        return error;
    pthread_mutex_lock(&server->lock);
    while (server->state == STATE_STARTING)
        pthread_cond_wait(&server->changed, &server->lock);
    error = server->error;
    pthread_mutex_unlock(&server->lock);
    if (error < 0)
        pthread_join(server->thread, NULL);
    return error;
}

int http_server_start(const struct http_options *options, struct http_server **ret_server,
                      char ret_problem[HTTP_PROBLEM_BYTES]) {
    struct http_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        snprintf(ret_problem, HTTP_PROBLEM_BYTES, "not enough memory");
        return -ENOMEM;
    }
    int error = http_endpoint_parse(options->address, &server->endpoint, ret_problem);
    if (error == 0)
        error = http_options_check(options, &server->endpoint, ret_problem);
    if (error < 0) {
        free(server);
        return error;
    }
    prepare(server, options);
    snprintf(server->problem, sizeof server->problem, "the server cannot be started");
    error = launch(server);
    if (error < 0) {
        snprintf(ret_problem, HTTP_PROBLEM_BYTES, "%s", server->problem);
        dispose(server);
        return error;
    }
    *ret_server = server;
    return 0;
}

/* A worker that ends wakes the loop. */
static void ask_to_end(struct http_server *server) {
    atomic_store(&server->stopping, true);
    ask_workers_to_end(server);
}

void http_server_stop(struct http_server *server) {
    if (server == NULL)
        return;
    ask_to_end(server);
    pthread_join(server->thread, NULL);
    if (!atomic_load(&server->service.lost))
        dispose(server);
}

/* ThreadSanitizer does not know a join by the monotonic clock. */
static bool join_until(pthread_t thread, uint64_t until_ns) {
    static const struct timespec nap = {.tv_nsec = JOIN_NAP_NS};
    while (pthread_tryjoin_np(thread, NULL) != 0) {
        if (http_now_ns() >= until_ns)
            return false;
        nanosleep(&nap, NULL);
    }
    return true;
}

int http_server_stop_within(struct http_server *server, uint64_t patience_ns) {
    uint64_t until_ns = http_now_ns() + patience_ns;
    if (server == NULL)
        return 0;
    ask_to_end(server);
    if (!join_until(server->thread, until_ns))
        return -ETIMEDOUT;
    if (!atomic_load(&server->service.lost))
        dispose(server);
    return 0;
}

/* The threads are the parent's, and so are the library's structures: closing an epoll set through
 * them would change the parent's. So only our own numbers are closed, where they are in this table
 * at all, and the memory stays. */
void http_server_forget(struct http_server *server) {
    if (server == NULL || server->own_table || atomic_load(&server->service.lost))
        return;
    close_noted(&server->loop.listen_fd);
    close_noted(&server->service.wake_fd);
    close_noted(&server->loop.epoll_fd);
}

const char *http_server_address(const struct http_server *server) {
    return server->address;
}

const char *http_server_scheme(const struct http_server *server) {
    return server->service.context.scheme;
}
