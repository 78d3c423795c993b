/* SPDX-License-Identifier: Apache-2.0
 *
 * The answers of /symbol: which function an address lies in. The addresses are taken as they
 * come, since pprof asks for those of its locations, which are calls and not returns already.
 */
#include "view/symbols.h"
#include "view/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_MAX_BYTES 4096u

/* Reads one address: 0x for hexadecimal, 0 for octal, else decimal. 0 when it is none. */
static uint64_t parse_address(const char *token, size_t bytes) {
    char text[32], *end;
    if (bytes == 0 || bytes >= sizeof(text) || token[0] < '0' || token[0] > '9')
        return 0;
    memcpy(text, token, bytes);
    text[bytes] = 0;
    errno = 0;
    uint64_t value = strtoull(text, &end, 0);
    return end == text + bytes && errno == 0 ? value : 0;
}

static int put_address(struct view_session *session, uint64_t address, struct view_buffer *out) {
    struct view_symbol symbol;
    size_t module = view_module_of(session->snapshot, address);
    if (address == 0 || module == VIEW_NO_MODULE)
        return 0;
    int error = view_session_symbol(session, module, address, &symbol);
    if (error)
        return error;
    view_buffer_printf(out, "0x%llx ", (unsigned long long)address);
    view_buffer_printable(out, symbol.frames[0].name, strlen(symbol.frames[0].name));
    view_buffer_text(out, "\n");
    return 0;
}

static int put_all(struct view_session *session, const char *request, size_t bytes,
                   struct view_buffer *out) {
    int error = 0;
    while (!error && bytes > 0) {
        const char *plus = memchr(request, '+', bytes);
        size_t length = plus ? (size_t)(plus - request) : bytes;
        if (length >= TOKEN_MAX_BYTES) {
            view_buffer_text(out, "reading request: bufio: buffer full\n");
            return 0;
        }
        error = put_address(session, parse_address(request, length), out);
        size_t used = plus ? length + 1 : length;
        request += used;
        bytes -= used;
    }
    return error;
}

int view_symbol_text(const struct mal_snapshot *snapshot, struct view_symbols *symbols,
                     const char *request, size_t request_bytes, struct view_buffer *out) {
    struct view_session session;
    size_t before = out->bytes;
    int error = view_session_begin(&session, symbols, snapshot);
    if (error)
        return error;
    view_buffer_text(out, "num_symbols: 1\n");
    error = put_all(&session, request, request_bytes, out);
    view_session_end(&session);
    if (out->failed)
        error = -ENOMEM;
    if (error)
        out->bytes = before;
    return error;
}
