/* SPDX-License-Identifier: Apache-2.0
 *
 * What a server is told: whether it may be so, and the token from its file.
 *
 * SYNCHRONIZATION  None: everything is the caller's.
 */
#include "http/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

static int check_token(const struct http_options *options, char ret_problem[HTTP_PROBLEM_BYTES]) {
    if (options->token == NULL ||
        (*options->token != '\0' && strlen(options->token) < HTTP_TOKEN_BYTES))
        return 0;
    snprintf(ret_problem, HTTP_PROBLEM_BYTES, "the token must have 1 to %d characters",
             HTTP_TOKEN_BYTES - 1);
    return -EINVAL;
}

static int check_tls(const struct http_options *options, char ret_problem[HTTP_PROBLEM_BYTES]) {
    bool certificate = options->certificate_pem != NULL;
    if (certificate != (options->key_pem != NULL)) {
        snprintf(ret_problem, HTTP_PROBLEM_BYTES,
                 "TLS needs both a certificate and its key; the %s "
                 "is missing",
                 certificate ? "key" : "certificate");
        return -EINVAL;
    }
    if (!certificate || MHD_is_feature_supported(MHD_FEATURE_TLS) == MHD_YES)
        return 0;
    snprintf(ret_problem, HTTP_PROBLEM_BYTES, "this machine's libmicrohttpd was built without TLS");
    return -ENOTSUP;
}

int http_options_check(const struct http_options *options, const struct http_endpoint *endpoint,
                       char ret_problem[HTTP_PROBLEM_BYTES]) {
    int error = check_token(options, ret_problem);
    if (error == 0)
        error = check_tls(options, ret_problem);
    if (error < 0 || endpoint->local || options->token != NULL ||
        options->flags & HTTP_ALLOW_INSECURE)
        return error;
    snprintf(ret_problem, HTTP_PROBLEM_BYTES,
             "%.100s can be reached from other machines and needs a token", options->address);
    return -EACCES;
}

int http_token_read(const char *path, char ret_token[HTTP_TOKEN_BYTES],
                    char ret_problem[HTTP_PROBLEM_BYTES]) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        int error = -errno;
        snprintf(ret_problem, HTTP_PROBLEM_BYTES, "cannot read the token file %.150s: %s", path,
                 strerror(-error));
        return error;
    }
    char *line = fgets(ret_token, HTTP_TOKEN_BYTES, file);
    fclose(file);
    if (line != NULL)
        line[strcspn(line, "\r\n")] = '\0';
    if (line != NULL && *line != '\0')
        return 0;
    snprintf(ret_problem, HTTP_PROBLEM_BYTES, "the token file %.150s is empty", path);
    return -EINVAL;
}
