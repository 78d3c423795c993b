/* SPDX-License-Identifier: Apache-2.0
 *
 * Who may ask: the Host header, the Origin header and the token.
 *
 * Host. A page on the web can make a name of its own resolve to 127.0.0.1 and then read a server
 * there as its own origin. What it cannot do is make the browser send another Host header than
 * that name. So a server on loopback answers only to loopback's own names.
 *
 * Origin. A page on the web can send a form to 127.0.0.1 without being able to read the answer.
 * Browsers mark such requests with Sec-Fetch-Site or Origin; programs such as curl send neither.
 *
 * Token. Compared over the whole of what was presented, whatever the first difference.
 *
 * SYNCHRONIZATION  None: pure functions.
 */
#include "http/guard.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CREDENTIALS_MAX 1024

static bool port_follows(const char *text) {
    if (*text == '\0')
        return true;
    return *text == ':' && text[1 + strspn(text + 1, "0123456789")] == '\0';
}

bool http_host_is_loopback(const char *host) {
    static const char *const names[] = {"localhost", "[::1]"};
    char address[INET_ADDRSTRLEN];
    struct in_addr parsed;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t bytes = strlen(names[i]);
        if (strncasecmp(host, names[i], bytes) == 0)
            return port_follows(host + bytes);
    }
    size_t bytes = strcspn(host, ":");
    if (bytes >= sizeof address || !port_follows(host + bytes))
        return false;
    memcpy(address, host, bytes);
    address[bytes] = '\0';
    return inet_pton(AF_INET, address, &parsed) == 1 && ntohl(parsed.s_addr) >> 24 == 127;
}

bool http_site_is_own(const struct http_site *site) {
    if (site->fetch_site != NULL)
        return strcmp(site->fetch_site, "same-origin") == 0 ||
               strcmp(site->fetch_site, "none") == 0;
    if (site->origin == NULL)
        return true;
    const char *host = strstr(site->origin, "://");
    return host != NULL && site->host != NULL && strcasecmp(host + 3, site->host) == 0;
}

static int base64_value(char c) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c != '\0' ? strchr(alphabet, c) : NULL;
    return found != NULL ? (int)(found - alphabet) : -1;
}

/* Decodes up to the first character that is not base64; the result is terminated. */
static void base64_decode(const char *text, char ret_text[CREDENTIALS_MAX]) {
    uint32_t bits = 0;
    unsigned held = 0;
    size_t bytes = 0;
    for (int value; (value = base64_value(*text)) >= 0 && bytes + 1 < CREDENTIALS_MAX; text++) {
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            ret_text[bytes++] = (char)(bits >> held);
        }
    }
    ret_text[bytes] = '\0';
}

static bool same_secret(const char *presented, const char *secret) {
    size_t presented_bytes = strlen(presented);
    size_t secret_bytes = strlen(secret);
    volatile unsigned char difference = presented_bytes != secret_bytes;
    for (size_t i = 0; i < presented_bytes; i++)
        difference |= (unsigned char)(presented[i] ^ secret[i % (secret_bytes + 1)]);
    return difference == 0;
}

/* The text behind "SCHEME ", or NULL. */
static const char *behind_scheme(const char *header, const char *scheme) {
    size_t bytes = strlen(scheme);
    if (strncasecmp(header, scheme, bytes) != 0 || header[bytes] != ' ')
        return NULL;
    return header + bytes + strspn(header + bytes, " ");
}

bool http_token_matches(const char *authorization, const char *token) {
    char credentials[CREDENTIALS_MAX];
    if (authorization == NULL)
        return false;
    const char *bearer = behind_scheme(authorization, "Bearer");
    if (bearer != NULL)
        return same_secret(bearer, token);
    const char *basic = behind_scheme(authorization, "Basic");
    if (basic == NULL)
        return false;
    base64_decode(basic, credentials);
    const char *colon = strchr(credentials, ':');
    return colon != NULL && same_secret(colon + 1, token);
}
