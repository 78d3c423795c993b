/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting the servers and starting them anew. Every client is asked for by its user: on loopback
 * and on the socket the kernel knows who it is.
 *
 * The socket may be opened by everybody, since who opens it sees their own processes only.
 *
 * A new token or certificate is a new server on the same address: libmicrohttpd takes neither while
 * it runs. Clients see one cut connection.
 *
 * SYNCHRONIZATION  Main thread.
 */
#include "daemon/servers.h"

#include "daemon/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOCKET_MODE 0666u

/* What is read from files. */
struct secrets {
    char token[HTTP_TOKEN_BYTES];
    char *certificate_pem, *key_pem;
};

static void secrets_free(struct secrets *secrets) {
    free(secrets->certificate_pem);
    if (secrets->key_pem != NULL)
        explicit_bzero(secrets->key_pem, strlen(secrets->key_pem));
    free(secrets->key_pem);
    explicit_bzero(secrets, sizeof *secrets);
}

static int read_pem(const char *path, char **ret_text, char *ret_problem) {
    char *text = malloc(SERVERS_PEM_BYTES);
    int fd = text != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = fd >= 0 ? read(fd, text, SERVERS_PEM_BYTES - 1) : -1;
    int error = got < 0 ? -errno : got == 0 ? -ENODATA : 0;
    if (fd >= 0)
        close(fd);
    if (error < 0) {
        snprintf(ret_problem, SETTINGS_PROBLEM_BYTES, "cannot read %.300s: %s", path,
                 error == -ENODATA ? "it is empty" : strerror(-error));
        free(text);
        return error;
    }
    text[got] = '\0';
    *ret_text = text;
    return 0;
}

static int read_secrets(const struct settings *settings, struct secrets *ret_secrets,
                        char *ret_problem) {
    const char *token_file = settings->value[SETTING_TOKEN_FILE].text;
    const char *certificate = settings->value[SETTING_TLS_CERT].text;
    struct secrets secrets = {.token = ""};
    int error = *token_file != '\0' ? http_token_read(token_file, secrets.token, ret_problem) : 0;
    if (error == 0 && *certificate != '\0')
        error = read_pem(certificate, &secrets.certificate_pem, ret_problem);
    if (error == 0 && *certificate != '\0')
        error = read_pem(settings->value[SETTING_TLS_KEY].text, &secrets.key_pem, ret_problem);
    if (error < 0)
        secrets_free(&secrets);
    else
        *ret_secrets = secrets;
    return error;
}

/* ---- starting ---- */

static struct http_options common_options(const struct servers *servers,
                                          const struct settings *settings) {
    return (struct http_options){
        .token = servers->token[0] != '\0' ? servers->token : NULL,
        .flags = HTTP_DAEMON | HTTP_CHECK_PEER |
                 (settings->value[SETTING_INSECURE].number != 0 ? HTTP_ALLOW_INSECURE : 0),
        .source = servers->source,
        .symbols = servers->symbols,
        .more_metrics = daemon_metrics_put,
        .more_context = servers->metrics,
    };
}

static int start_tcp(struct servers *servers, const struct settings *settings, char *ret_problem) {
    struct http_options options = common_options(servers, settings);
    options.address = servers->tcp_address;
    options.certificate_pem = servers->certificate_pem;
    options.key_pem = servers->key_pem;
    int error = http_server_start(&options, &servers->tcp, ret_problem);
    if (error == 0)
        snprintf(servers->tcp_address, sizeof servers->tcp_address, "%s",
                 http_server_address(servers->tcp));
    return error;
}

static int start_local(struct servers *servers, const struct settings *settings,
                       char *ret_problem) {
    struct http_options options = common_options(servers, settings);
    char address[SETTINGS_TEXT_BYTES + 8];
    snprintf(address, sizeof address, "unix:%s", settings->value[SETTING_SOCKET].text);
    options.address = address;
    options.socket_mode = SOCKET_MODE;
    return http_server_start(&options, &servers->local, ret_problem);
}

static int start_both(struct servers *servers, const struct settings *settings, char *ret_problem) {
    int error = 0;
    if (servers->tcp_address[0] != '\0')
        error = start_tcp(servers, settings, ret_problem);
    if (error == 0 && settings->value[SETTING_SOCKET].text[0] != '\0')
        error = start_local(servers, settings, ret_problem);
    return error;
}

static void stop_both(struct servers *servers) {
    http_server_stop(servers->tcp);
    http_server_stop(servers->local);
    servers->tcp = servers->local = NULL;
}

/* Moves the secrets in and gives the ones before back. */
static void exchange(struct servers *servers, struct secrets *secrets) {
    struct secrets before = {.certificate_pem = servers->certificate_pem,
                             .key_pem = servers->key_pem};
    memcpy(before.token, servers->token, sizeof before.token);
    memcpy(servers->token, secrets->token, sizeof servers->token);
    servers->certificate_pem = secrets->certificate_pem;
    servers->key_pem = secrets->key_pem;
    *secrets = before;
}

int servers_start(struct servers *servers, const struct settings *settings,
                  char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    const char *http = settings->value[SETTING_HTTP].text;
    struct secrets secrets;
    size_t bytes = strlen(http) + 1;
    if (bytes > sizeof servers->tcp_address) {
        snprintf(ret_problem, SETTINGS_PROBLEM_BYTES, "the address %.100s is too long", http);
        return -EINVAL;
    }
    if (strcmp(http, "off") != 0)
        memcpy(servers->tcp_address, http, bytes);
    int error = read_secrets(settings, &secrets, ret_problem);
    if (error < 0)
        return error;
    exchange(servers, &secrets);
    error = start_both(servers, settings, ret_problem);
    if (error < 0)
        servers_stop(servers);
    return error;
}

void servers_stop(struct servers *servers) {
    struct secrets none = {.token = ""};
    stop_both(servers);
    exchange(servers, &none);
    secrets_free(&none);
}

/* ---- starting anew ---- */

static bool same_text(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

int servers_reload(struct servers *servers, const struct settings *settings,
                   char ret_problem[SETTINGS_PROBLEM_BYTES]) {
    char ignored[SETTINGS_PROBLEM_BYTES];
    struct secrets secrets;
    int error = read_secrets(settings, &secrets, ret_problem);
    if (error < 0)
        return error;
    bool same = strcmp(secrets.token, servers->token) == 0 &&
                same_text(secrets.certificate_pem, servers->certificate_pem) &&
                same_text(secrets.key_pem, servers->key_pem);
    if (!same) {
        exchange(servers, &secrets);
        stop_both(servers);
        error = start_both(servers, settings, ret_problem);
        if (error < 0) {
            stop_both(servers);
            exchange(servers, &secrets);
            start_both(servers, settings, ignored);
        }
    }
    secrets_free(&secrets);
    return error < 0 ? error : !same;
}
