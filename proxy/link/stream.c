#include "link/stream.h"

#include "link/trust.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void
stream_init(struct stream *s)
{
	*s = (struct stream){.fd = -1};
}

static enum io
socket_fault(struct fault *why, int error)
{
	switch (error) {
	case EAGAIN:
		return IO_AGAIN;
	case ECONNRESET:
	case EPIPE:
		(void)fault_set(why, R_CLOUD_RESET,
		    "the connection was reset (%s)", strerror(error));
		return IO_FAILED;
	case ETIMEDOUT: /* TCP_USER_TIMEOUT */
		(void)fault_set(
		    why, R_CLOUD_SILENT, "what was sent was not acknowledged");
		return IO_FAILED;
	case ENOMEM:
	case ENOBUFS:
		(void)fault_set(why, R_OUT_OF_MEMORY, "%s", strerror(error));
		return IO_FAILED;
	default:
		(void)fault_set(
		    why, R_CLOUD_UNREACHABLE, "%s", strerror(error));
		return IO_FAILED;
	}
}

/* <result> of an SSL_ call: a signal has come between, and it has to be made
   again, since no event will. */
static bool
interrupted(const struct stream *s, int result)
{
	return result != 1 && errno == EINTR && SSL_want(s->ssl) != SSL_NOTHING;
}

/* <result> of an SSL_ call that did not succeed. */
static enum io
tls_fault(struct stream *s, int result, struct fault *why)
{
	int error = errno;
	enum io io;

	switch (SSL_get_error(s->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return IO_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return IO_EOF;
	case SSL_ERROR_SYSCALL:
		s->broken = true;
		ERR_clear_error();
		io = error != 0 ? socket_fault(why, error) : IO_EOF;
		return io == IO_AGAIN ? IO_EOF : io;
	default:
		s->broken = true;
		if (error == ENOMEM) { /* whatever OpenSSL makes of it */
			ERR_clear_error();
			return socket_fault(why, error);
		}
		(void)trust_explain(s->ssl, why);
		return IO_FAILED;
	}
}

bool
stream_secure(struct stream *s, SSL *ssl)
{
	BIO *inside = NULL;
	bool ok = true;

	if (s->ssl == NULL) {
		ok = SSL_set_fd(ssl, s->fd) == 1;
	} else {
		inside = BIO_new(BIO_f_ssl());
		if (inside == NULL) {
			SSL_free(ssl);
			return false;
		}
		(void)BIO_set_ssl(inside, s->ssl, BIO_CLOSE);
		SSL_set_bio(ssl, inside, inside);
	}
	s->ssl = ssl; /* it owns the outer one */
	return ok;
}

enum io
stream_handshake(struct stream *s, struct fault *why)
{
	enum io io;
	int r;

	if (s->ssl == NULL)
		return IO_OK;
	do {
		/* the queue is the thread's: an old error of another stream
		   would be taken for this one's */
		ERR_clear_error();
		errno = 0;
		r = SSL_do_handshake(s->ssl);
	} while (interrupted(s, r));
	if (r == 1)
		return IO_OK;
	io = tls_fault(s, r, why);
	if (io != IO_AGAIN)
		s->broken = true;
	if (io == IO_EOF) {
		(void)fault_set(why, R_TLS_FAILED,
		    "the server closed the connection in the TLS handshake");
		return IO_FAILED;
	}
	return io;
}

void
stream_hold(const struct stream *s, bool held)
{
	const int on = held;

	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

enum io
stream_read(
    struct stream *s, uint8_t *to, size_t size, size_t *got, struct fault *why)
{
	ssize_t n;
	int r;

	*got = 0;
	if (s->ssl == NULL) {
		do
			n = recv(s->fd, to, size, 0);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return socket_fault(why, errno);
		*got = (size_t)n;
		return n > 0 ? IO_OK : IO_EOF;
	}
	do {
		ERR_clear_error();
		errno = 0;
		r = SSL_read_ex(s->ssl, to, size, got);
	} while (interrupted(s, r));
	return r == 1 ? IO_OK : tls_fault(s, r, why);
}

enum io
stream_write(
    struct stream *s, struct span bytes, size_t *put, struct fault *why)
{
	ssize_t n;
	int r;

	*put = 0;
	if (s->ssl == NULL) {
		do
			n = send(s->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return socket_fault(why, errno);
		*put = (size_t)n;
		return IO_OK;
	}
	do {
		ERR_clear_error();
		errno = 0;
		r = SSL_write_ex(s->ssl, bytes.p, bytes.n, put);
	} while (interrupted(s, r));
	return r == 1 ? IO_OK : tls_fault(s, r, why);
}

void
stream_finish(struct stream *s)
{
	ERR_clear_error();
	if (s->ssl != NULL && !s->broken && SSL_is_init_finished(s->ssl))
		(void)SSL_shutdown(s->ssl);
	ERR_clear_error();
	(void)shutdown(s->fd, SHUT_WR);
}

void
stream_close(struct stream *s)
{
	if (s->ssl != NULL) {
		ERR_clear_error();
		if (!s->broken && SSL_is_init_finished(s->ssl))
			(void)SSL_shutdown(s->ssl);
		ERR_clear_error();
		SSL_free(s->ssl);
	}
	if (s->fd >= 0)
		(void)close(s->fd);
	stream_init(s);
}
