package outbox

import (
	"regexp"
	"strconv"
	"strings"
)

// The rules for names, payloads, keys and headers, as the Rust library has them. ../cases.json has cases of both.
const (
	payloadBytesMax = 240 * 1024
	keyBytesMax     = 512
	headersBytesMax = 8192
	// Deeper JSON may exceed Postgres's stack.
	depthMax = 2000
)

var (
	eventName      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,127}$`)
	headerName     = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)
	printableASCII = regexp.MustCompile(`^[\x20-\x7e]*$`)

	reservedPrefixes = []string{"outbox-", "connect-", "content-", "accept", "grpc-", "proxy-"}
	reserved         = map[string]bool{
		"host":              true,
		"connection":        true,
		"keep-alive":        true,
		"te":                true,
		"trailer":           true,
		"transfer-encoding": true,
		"upgrade":           true,
		"authorization":     true,
		"cookie":            true,
		"idempotency-key":   true,
		"user-agent":        true,
	}
)

// headerProblem returns the reason to refuse a header, or "".
func headerProblem(header, value string) string {
	if !headerName.MatchString(header) {
		return "is malformed: names are at most 64 lower-case letters, digits and dashes"
	}
	isReserved := reserved[header]
	for _, prefix := range reservedPrefixes {
		isReserved = isReserved || strings.HasPrefix(header, prefix)
	}
	switch {
	case isReserved:
		return "is reserved: the call to the RPC sets it itself"
	case strings.HasSuffix(header, "-bin"):
		return "is reserved: in gRPC the value of a name that ends in -bin is base64"
	case !printableASCII.MatchString(value):
		return "has a value that is not printable ASCII"
	}
	return ""
}

// payloadProblem returns the reason to refuse a payload that protojson wrote, or "". It writes an escape only for control
// characters. An object has no key twice, and no number is beyond a double, because a message was written.
func payloadProblem(payload string) string {
	if !strings.HasPrefix(payload, "{") {
		return "is not a JSON object"
	}
	depth, isText := 0, false
	for at := 0; at < len(payload); at++ {
		switch c := payload[at]; {
		case isText && c == '\\':
			if standsForNothing(payload[at:]) {
				return `has an escape that stands for no character: \u0000, or half of a surrogate pair`
			}
			at++
		case c == '"':
			isText = !isText
		case !isText && (c == '{' || c == '['):
			depth++
			if depth > depthMax {
				return "is nested too deep"
			}
		case !isText && (c == '}' || c == ']'):
			depth--
		}
	}
	return ""
}

// standsForNothing reports whether a text begins with \u0000 or with an escape for half of a surrogate pair.
func standsForNothing(text string) bool {
	if len(text) < 6 || text[1] != 'u' {
		return false
	}
	unit, err := strconv.ParseUint(text[2:6], 16, 16)
	return err == nil && (unit == 0 || unit >= 0xd800 && unit <= 0xdfff)
}
