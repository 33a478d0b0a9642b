package storage

import "github.com/prometheus/prometheus/tsdb"

// Stats counts what the head of the raw tier holds: the largest values of a label, label names and pairs, up to limit of each.
func (s *Store) Stats(byLabel string, limit int) (*tsdb.Stats, error) {
	db, err := s.raw.use()
	if err != nil {
		return nil, err
	}
	defer db.release()
	return db.Head().Stats(byLabel, limit), nil
}
