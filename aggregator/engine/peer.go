package engine

import promconfig "github.com/prometheus/common/config"

// PeerAccess is how one replica logs in at another: with the token in a file, which may be empty, trusting the certificate
// authorities given (PEM) for a certificate of the given name, whatever address is asked.
func PeerAccess(tokenFile, authorities, serverName string) (Access, error) {
	c := promconfig.DefaultHTTPClientConfig
	if tokenFile != "" {
		c.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: tokenFile}
	}
	c.TLSConfig = promconfig.TLSConfig{CA: authorities, ServerName: serverName}
	if err := c.Validate(); err != nil {
		return Access{}, err
	}
	return Access{&c}, nil
}
