/* SPDX-License-Identifier: Apache-2.0
 *
 * A server for tests: a folder of boxes to viewers that are told apart, at several addresses at
 * once, as the daemon does it.
 *
 *     serve FOLDER TOKEN|- CERTIFICATE|- KEY|- ADDRESS...
 *
 * Prints the scheme and address of each server on a line, and ends with standard input.
 */
#include "http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVERS_MAX 8
#define PEM_BYTES 65536

static void more_metrics(void *more_context, struct view_buffer *out) {
    view_buffer_printf(out,
                       "# HELP serve_servers Servers of this test.\n# TYPE serve_servers gauge\n"
                       "serve_servers %d\n",
                       *(const int *)more_context);
}

/* The text of a file, or NULL for "-". */
static const char *text_of(const char *path) {
    if (strcmp(path, "-") == 0)
        return NULL;
    char *text = calloc(1, PEM_BYTES);
    FILE *file = fopen(path, "re");
    if (text == NULL || file == NULL || fread(text, 1, PEM_BYTES - 1, file) == 0) {
        fprintf(stderr, "serve: %s cannot be read\n", path);
        exit(2);
    }
    fclose(file);
    return text;
}

int main(int count, char **arguments) {
    struct http_server *servers[SERVERS_MAX];
    struct view_symbols *symbols;
    char problem[HTTP_PROBLEM_BYTES];
    char byte;
    int started = 0;
    if (count < 6 || count - 5 > SERVERS_MAX || view_symbols_create(&symbols) < 0)
        return 2;
    struct http_folder_source boxes = {.folder = arguments[1], .flags = HTTP_FOLDER_NESTED};
    struct http_options options = {
        .token = strcmp(arguments[2], "-") != 0 ? arguments[2] : NULL,
        .flags = HTTP_CHECK_PEER,
        .source = http_folder_source(&boxes),
        .symbols = symbols,
        .socket_mode = 0666,
        .certificate_pem = text_of(arguments[3]),
        .key_pem = text_of(arguments[4]),
        .more_metrics = more_metrics,
        .more_context = &started,
    };
    for (int i = 5; i < count; i++) {
        options.address = arguments[i];
        if (http_server_start(&options, &servers[started], problem) < 0) {
            fprintf(stderr, "serve: %s\n", problem);
            return 1;
        }
        printf("%s %s\n", http_server_scheme(servers[started]),
               http_server_address(servers[started]));
        started++;
    }
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    for (int i = 0; i < started; i++)
        http_server_stop(servers[i]);
    view_symbols_destroy(symbols);
    return 0;
}
