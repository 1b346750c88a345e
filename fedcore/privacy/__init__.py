"""What a promise of differential privacy is made of; `plan` alone couples the parts."""
